#!/bin/sh
# Serves calls through /dev/hyperlight with nothing but what is built into a POSIX shell: one line of JSON
# for a call, one for its reply. It knows strings without escapes, and whole numbers.
exec 3<>/dev/hyperlight
count=0

reply() { printf '{"result":%s}\n' "$1" >&3; }
fail() { printf '{"error":"%s"}\n' "$1" >&3; }

add() {
    case $1 in
    *[!0-9,-]*) fail 'add takes two whole numbers' ;;
    *) reply $((${1%,*} + ${1#*,})) ;;
    esac
}

greet() {
    case $1 in
    \"*\") name=${1#\"} && reply "\"hello, ${name%\"}\"" ;;
    *) fail 'greet takes a string' ;;
    esac
}

# Calls a function of the host application: what it returns is the reply.
shout() {
    printf '{"host":"upper","args":[%s]}\n' "$1" >&3
    IFS= read -r answer <&3
    printf '%s\n' "$answer" >&3
}

printf '{"functions":["add","greet","shout","count"]}\n' >&3
while IFS= read -r line <&3; do
    # {"call":"NAME","args":[ARGUMENTS]}
    name=${line#'{"call":"'}
    name=${name%%\"*}
    arguments=${line#*'"args":['}
    arguments=${arguments%']}'}
    case $name in
    add) add "$arguments" ;;
    greet) greet "$arguments" ;;
    shout) shout "$arguments" ;;
    count) reply $((count += 1)) ;;
    esac
done
