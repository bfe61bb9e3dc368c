"""Child processes, as vfork and posix_spawn make them."""
from harness import case
from trees import PROCESSES

PARTS = ("ends", "failures", "shared", "pipes", "large", "signals", "handed", "many", "nest", "threads", "shells", "memory")

# Those that move: a child cannot lie where its parent does.
for variant in ("pie", "dynamic"):
    for part in PARTS:
        case(f"{variant}.{part}", f"/programs/process_test.{variant}", PROCESSES, environment={"ONLY": part},
             quick=variant == "dynamic")

SHELL = {
    "commands": "ls -d /usr; echo between; sort /etc/passwd > /tmp/sorted; wc -c < /tmp/sorted; false || echo no; true && echo yes",
    "loop": "for i in 1 2 3; do basename /a/b/$i; done; while read line; do echo \"<$line>\"; done < /tmp/none; case x in x) printf '%s\\n' case;; esac",
    "status": "sh -c 'exit 7'; echo $?; sh -c 'kill -9 $$'; echo $?; nosuchcommand; echo $?; /etc/passwd; echo $?; exit 4",
    "environment": "A=1 env > /dev/null; A=1 printenv A; export B=2; printenv B; cd /tmp; pwd; /bin/pwd; umask 077; touch new; stat -c %A new",
    "trap": "trap 'echo trapped' USR1; kill -USR1 $$; sleep 0.05; echo after; trap 'echo leaving' EXIT; sh -c 'echo child'",
    "exec": "exec 3>/tmp/three; echo text >&3; exec 3>&-; cat /tmp/three; exec sort /tmp/three",
}
for name, script in SHELL.items():
    case(f"shell.{name}", ["/bin/sh", "-c", script], PROCESSES, status=None)
