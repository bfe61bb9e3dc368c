# Bash completion for the hyperlight tool.

# Index of the first word behind the verb that is no option and no option's value.
_hyperlight_program_index()
{
    local i=2
    while ((i < COMP_CWORD)); do
        case ${COMP_WORDS[i]} in
            --memory | --timeout | --cpu-time | --output-limit | --env | --root | --directory | --driver | --log)
                # Bash takes "--option=value" apart at the "=".
                if [[ ${COMP_WORDS[i + 1]} == "=" ]]; then ((i += 3)); else ((i += 2)); fi
                ;;
            -*) ((i += 1)) ;;
            *) break ;;
        esac
    done
    printf '%s' "$i"
}

_hyperlight_words()
{
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_hyperlight_files()
{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

# Names of drivers, asked of the tool itself.
_hyperlight_drivers()
{
    "${COMP_WORDS[0]}" doctor --json 2>/dev/null | sed -n 's/^ *"name": "\([a-z0-9_-]*\)".*/\1/p'
}

_hyperlight_option_value()
{
    case $1 in
        --log) _hyperlight_words 'none error warn info debug trace' "$2" ;;
        --driver) _hyperlight_words "$(_hyperlight_drivers)" "$2" ;;
        --env) mapfile -t COMPREPLY < <(compgen -e -- "$2") ;;
        --root) _hyperlight_files "$2" ;;
        --directory) COMPREPLY=() ;;
        --memory) _hyperlight_words '16M 64M 256M 1G 4G' "$2" ;;
        --timeout | --cpu-time) _hyperlight_words 'none 100ms 1s 10s 1m' "$2" ;;
        --output-limit) _hyperlight_words 'none 64K 1M 64M' "$2" ;;
        *) return 1 ;;
    esac
}

_hyperlight_limits='--memory --timeout --cpu-time --output-limit --env --root --directory --host-program --stats --trace --driver --log --help'

# Options up to the program, its file name, then what the program takes: files, for `run`.
_hyperlight_program()
{
    local options=$1 arguments=$2 current=$3 index
    index=$(_hyperlight_program_index)
    if ((index == COMP_CWORD)) && [[ $current == -* ]]; then
        _hyperlight_words "$options" "$current"
    elif ((index == COMP_CWORD)) || [[ $arguments == files ]]; then
        _hyperlight_files "$current"
    fi
}

_hyperlight_image()
{
    if ((COMP_CWORD == 2)); then
        _hyperlight_words 'create list show cache --help' "$2"
    elif [[ ${COMP_WORDS[2]} == cache ]]; then
        _hyperlight_words 'list clear' "$2"
    elif [[ $2 == -* ]]; then
        _hyperlight_words '--output --size-limit --files-limit --depth-limit --timeout --help' "$2"
    else
        _hyperlight_option_value "$1" "$2" || _hyperlight_files "$2"
    fi
}

_hyperlight()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
    COMPREPLY=()
    if [[ $current == "=" ]]; then
        current=''
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD == 1)); then
        _hyperlight_words 'run call image pack doctor selftest help --help --version' "$current"
        return
    fi
    case $verb in
        run | call)
            if ((COMP_CWORD <= $(_hyperlight_program_index))); then
                _hyperlight_option_value "$previous" "$current" && return
            fi
            if [[ $verb == run ]]; then
                _hyperlight_program "$_hyperlight_limits" files "$current"
            else
                _hyperlight_program "$_hyperlight_limits --list" none "$current"
            fi
            ;;
        image) _hyperlight_image "$previous" "$current" ;;
        pack)
            case $previous in
                --preset) _hyperlight_words 'python node perl' "$current" ;;
                *)
                    if [[ $current == -* ]]; then
                        _hyperlight_words '--output --preset --verbose --help' "$current"
                    else
                        _hyperlight_files "$current"
                    fi
                    ;;
            esac
            ;;
        doctor) _hyperlight_words '--json --help' "$current" ;;
        selftest)
            _hyperlight_option_value "$previous" "$current" ||
                _hyperlight_words '--driver --json --help' "$current"
            ;;
        help) _hyperlight_words 'run call image pack doctor selftest' "$current" ;;
    esac
}

complete -F _hyperlight hyperlight
