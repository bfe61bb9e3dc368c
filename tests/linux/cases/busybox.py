"""busybox's applets that do not fork."""
from harness import case
from trees import BASE

TEXT = "alpha beta\ngamma delta\nalpha beta\nepsilon 42\n"

APPLETS = {
    "arch": "", "ascii": "", "ash": "-c 'i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; echo $i; x=abc; echo ${x#a}; [ -f /data/empty ] && echo file'",
    "awk": "'{ n[$1]++; s += length($0) } END { print s, n[\"alpha\"], n[\"dog\"] }' /data/words.txt", "base64": "/data/small.bin",
    "basename": "/data/old.txt .txt", "bunzip2": "--help", "cal": "2 2024", "cat": "-n /data/old.txt", "chgrp": "-v 0 /tmp",
    "chmod": "-v 755 /tmp", "chown": "-v 0:0 /tmp", "cksum": None, "cmp": "/data/old.txt /data/old.txt", "cp": "/data/random.bin /dev/stdout", "crc32": "/data/random.bin",
    "cut": "-f 1,3 /data/table.tsv", "date": "-u -d @86400 '+%F %T %a %j'", "dc": "-e '10 2 / p 3 ^ p'", "dd": "if=/data/random.bin bs=512 count=7 skip=1",
    "diff": "-u /data/old.txt /data/old.txt", "dirname": "/data/tree/a", "dos2unix": None, "du": "-s /data/none", "echo": "-e 'a\\tb'", "egrep": "-c 'fox|dog' /data/words.txt",
    "env": "", "expand": "-t 3 /data/tabs.txt", "expr": "6 '*' 7", "factor": "1234567890 97", "fallocate": "-l 1M /tmp/f", "false": "", "fgrep": "-n fox /data/old.txt",
    "find": "/data/tree -type f -size -2 -name '*.txt'", "fold": "-w 15 /data/old.txt", "getopt": "ab:c -a -b x -- y", "grep": "-rn needle /data/tree/b",
    "groups": "root", "gunzip": "-c /data/archive.tar.gz", "gzip": "-c", "head": "-n 5 /data/words.txt", "hexdump": "-C /data/small.bin", "hostid": None, "id": "",
    "ipcalc": "-n -b 192.168.3.17/20", "kill": "-l", "less": None, "link": "/data/none /tmp/x", "ln": "-sv /data /tmp/l", "ls": "-l /data/tree", "lzcat": "--help",
    "md5sum": "/data/random.bin /data/empty", "mkdir": "-p /tmp/a/b", "mkfifo": "/tmp/f", "mknod": "/tmp/n p", "mkpasswd": "-m sha512 -S abcdefgh secret", "mktemp": "/none/XXXXXX",
    "more": "/data/old.txt", "mv": "/data/none /tmp/x", "nl": "/data/old.txt", "nproc": "", "od": "-t x2 /data/small.bin", "paste": "/data/left.txt /data/right.txt",
    "patch": "--help", "printf": "'%s %05d %x %b\\n' a 42 255 'x\\ny'", "pwd": "", "readlink": "/data/tree/link", "realpath": "/data/tree/folder-link/../a", "rev": "/data/old.txt",
    "rm": "-rf /tmp/none", "rmdir": "/tmp/none", "run-parts": "--test /data/none", "sed": "-n 's/alpha/[&]/gp;$=' /data/words.txt", "seq": "-w 1 7 50",
    "sha1sum": "/data/random.bin", "sha256sum": "/data/random.bin /data/small.bin", "sha3sum": "/data/random.bin", "sha512sum": "/data/random.bin", "shuf": "-e one",
    "sleep": "0.02", "sort": "-k2 -r /data/words.txt", "stat": "-c '%n %s %a %F %h' /data/old.txt /data/tree/link /data/tree/a/one", "strings": "-n 6 /usr/bin/true",
    "sync": "", "tac": "/data/old.txt", "tail": "-n 4 /data/big.txt", "tar": "-tvf /data/archive.tar", "tee": "/tmp/one", "test": "-d /data", "touch": "/tmp/new",
    "tr": "a-m A-M", "true": "", "truncate": "-s 100 /tmp/t", "ts": None, "tty": "", "uname": "-s -m", "unexpand": "-a /data/tabs.txt", "uniq": "-c", "unix2dos": None, "unlink": "/tmp/none",
    "unxz": "--help", "unzip": "-l /data/none", "usleep": "1000", "uudecode": "-o /dev/stdout", "uuencode": "name", "wc": "/data/words.txt /data/big.txt", "which": "ls none", "whoami": "",
    "xargs": "--help", "xxd": "/data/small.bin", "yes": "--help", "cpio": "-t", "ar": "-t /data/none", "time": None, "mim": None,
    "clear": "", "cmp2": None, "df": "--help", "fatattr": None, "fsfreeze": None, "logname": None, "[": "-f /data/empty ]", "[[": "abc == a* ]]", "who": "", "last": None, "mt": None,
    "setpriv": None, "chvt": None, "rpm2cpio": None, "sysctl": None, "nuke": None, "ionice": None, "renice": None, "taskset": None, "hostname": None, "timeout": None,
    "free": None, "uptime": None, "ps": None, "pidof": None, "shred": "-n 1 /data/none", "blkid": None, "svok": None,
}
STDIN = {"tr": TEXT, "uniq": TEXT, "gzip": "x" * 5000, "tee": TEXT, "uuencode": TEXT, "uudecode": "begin 644 x\n#86)C\n`\nend\n", "cpio": "not an archive"}
STATUS = {"false": 1, "tty": 1, "link": 1, "mv": 1, "rmdir": 1, "unlink": 1, "unzip": None, "which": 1, "cpio": None, "ar": None, "run-parts": None, "mktemp": 1, "du": 1, "shred": 1}
SILENT = {"false", "true", "test", "touch", "truncate", "sync", "sleep", "usleep", "rm", "mkdir", "mkfifo", "mknod", "fallocate", "[", "[[", "who", "cmp", "diff", "run-parts", "ln"}
UNORDERED = {"find", "grep"}

for applet, arguments in APPLETS.items():
    if arguments is not None:
        case(applet, f"busybox {applet} {arguments}", BASE, stdin=STDIN.get(applet, ""), status=STATUS.get(applet, 0), silent=applet in SILENT,
             unordered=applet in UNORDERED)
case("none", "busybox no-such-applet", BASE, status=127)
case("list", "busybox --list", BASE)
