"""grep, sed, find, tar, compressors, bc, awk, lua, jq, sqlite3, perl, openssl, file, dash."""
from harness import case
from trees import BASE


def add(name, command, **options):
    case(name, command, BASE, **options)


# grep
add("grep.recursive", "grep -r needle /data/tree", unordered=True)
add("grep.recursive-all", "grep -rn alpha /data --include=*.txt", unordered=True)
add("grep.binary", "grep -r -c e /data", unordered=True)
add("grep.count", "grep -c alpha /data/words.txt /data/old.txt")
add("grep.extended", "grep -nE '^(alpha|beta) .*(fox|dog)$' /data/big.txt")
add("grep.perl", "grep -oP '\\b(\\w)\\w*\\1\\b' /data/old.txt")
add("grep.context", "grep -n -C 1 'Cherry Cherry' /data/words.txt")
add("grep.invert", "grep -v e /data/words.txt")
add("grep.fixed", "grep -F -w -i DOG /data/words.txt")
add("grep.list", "grep -L alpha /data/words.txt /data/months /data/numbers")
add("grep.none", "grep nothing-like-this /data/words.txt", status=1, silent=True)
add("grep.missing", "grep x /data/none", status=2)
add("grep.file", "grep -f - /data/versions", stdin="1.9\n2.0\n")
add("grep.utf8", "grep -o . /data/utf8.txt", environment={"LC_ALL": "C.UTF-8"})
add("grep.backreference", "grep -E '^([a-z]+) \\1' /data/words.txt")
add("grep.directory", "grep x /data", status=2)
add("grep.max", "grep -m 3 -b fox /data/big.txt")

# sed
add("sed.substitute", "sed -n 's/\\(quick\\) \\(brown\\)/\\2 \\1/gp' /data/words.txt")
add("sed.script", "sed -f /data/script.sed /data/words.txt")
add("sed.delete", "sed '2,100d;/^$/d;$d' /data/old.txt")
add("sed.extended", "sed -E 's/([aeiou])([^aeiou])/[\\1]\\u\\2/3g' /data/old.txt")
add("sed.hold", "sed -n '1!G;h;$p' /data/months")
add("sed.transliterate", "sed y/abc/xyz/ /data/old.txt")
add("sed.insert", ["sed", "-e", "1i\\", "-e", "first", "-e", "$a last", "/data/months"])
add("sed.write", "sed -n '/fox/w /dev/stdout' /data/words.txt")
add("sed.in-place", "sed -i.bak s/x/y/ /tmp/none", status=2)
add("sed.branch", "sed ':a;N;$!ba;s/\\n/,/g' /data/versions")
add("sed.error", "sed s/x", stdin="", status=1)
add("sed.quit", "sed 5q", stdin="x\n" * 10000)

# find
add("find.all", "find /data/tree", unordered=True)
add("find.type", "find /data -type l -printf '%p -> %l\\n'", unordered=True)
add("find.size", "find /data -size +100k -printf '%s %p\\n'", unordered=True)
add("find.newer", "find /data /etc -newermt 2020-01-01 -name '*.txt'", unordered=True)
add("find.newer-file", "find /data -newer /data/old.txt", silent=True)
add("find.perm", "find /data/tree -perm /4000 -o -perm 600", unordered=True)
add("find.empty", "find /data -empty", unordered=True)
add("find.regex", "find /data -regextype posix-extended -regex '.*/file-0(1|2)[0-9]+-x{3}' -print", unordered=True)
add("find.depth", "find /data/tree -depth -maxdepth 2 -mindepth 1", unordered=True)
add("find.printf", "find /data/tree -printf '%y %m %n %s %d %f %h %P %TY\\n'", unordered=True)
add("find.links", "find -L /data/tree -type f -links 2", unordered=True)
add("find.samefile", "find /data -samefile /data/tree/a/hard", unordered=True)
add("find.prune", "find /data -name many -prune -o -type d -print", unordered=True)
add("find.missing", "find /data/none -print", status=1)
add("find.many", "find /data/many -name '*x5*' -o -name '*-00[0-4]?-*'", unordered=True)
add("find.system", "find /usr -name '*.so*' -type f", unordered=True)

# tar
add("tar.list", "tar -tvf /data/archive.tar", environment={"TZ": "UTC"})
add("tar.list-gzip", "tar -tf /data/archive.tar")
add("tar.extract", "tar -xvf /data/archive.tar -C /tmp")
add("tar.extract-stdout", "tar -xOf /data/archive.tar pack/large.bin")
add("tar.create-list", "tar -cvf /tmp/x.tar --sort=name -C /data tree words.txt")
add("tar.create", "tar -cf - --sort=name --owner=0 --group=0 --numeric-owner -C /data tree words.txt small.bin")
add("tar.create-pax", "tar --format=pax --pax-option=delete=atime,delete=ctime -cf - --sort=name -C /data tree")
add("tar.create-ustar", "tar --format=ustar -cf - --sort=name --exclude=many -C /data .")
add("tar.compare", "tar -df /data/archive.tar -C /data", status=1)
add("tar.stdin", "tar -tv", stdin=b"\0" * 10240, silent=True)
add("tar.broken", "tar -tf /data/random.bin", status=2)

# compressors
add("gzip", "gzip -nc /data/big.txt")
add("gzip.fast", "gzip -1nc /data/random.bin")
add("gzip.best-stdin", "gzip -9n", stdin=b"compress me " * 50_000)
add("gunzip", "gzip -dc /data/archive.tar.gz")
add("gzip.list", "gzip -tv /data/archive.tar.gz")
add("gzip.broken", "gzip -dc", stdin=b"\x1f\x8b\x08\0\0\0\0\0\0\3broken", status=1)
add("gzip.file", "gzip -kv /tmp/none", status=1)
add("bzip2", "bzip2 -c /data/words.txt")
add("xz", "xz -c -T1 /data/big.txt")
add("xz.extreme", "xz -9e -c -T1 /data/random.bin", memory="1G")
add("xz.decompress", "xz -dc", stdin=bytes.fromhex("fd377a585a000004e6d6b4460200210116000000742fe5a3010004616263640a0000001f9b35a5e38f1fcc00011d05b82d80af1fb6f37d010000000004595a"), status=None)
add("xz.broken", "xz -dc /data/random.bin", status=1)
add("zstd", "zstd -q -c --single-thread /data/big.txt")
add("zstd.19", "zstd -q -19 -c --single-thread /data/words.txt", memory="512M")
add("zstd.threads", "zstd -q -T2 -c /data/big.txt", memory="512M")

# calculators and languages
add("bc", "bc -l", stdin="scale=50\n4*a(1)\ne(1)\n2^1000\nfor(i=0;i<5;i++) i^2\ndefine f(n){if(n<2)return(1);return(n*f(n-1));}\nf(100)\n")
add("bc.base", "bc", stdin="obase=16\n255*255\nibase=2\n1011\n1/0\n")
add("dc", "dc -e '100k 2vp 16o 255p'")
add("awk.count", "mawk -f /dev/stdin /data/words.txt", stdin='{ count[$1]++; sum += NF } END { print sum, length(count) }\n')
add("awk.fields", ["mawk", "-F", "\t", "$2 > 0 { printf \"%-12s %8d %s\\n\", $1, $2, toupper($4) }", "/data/table.tsv"])
add("awk.functions", ["mawk", "BEGIN { print substr(\"hello\", 2, 3), index(\"abc\", \"c\"), sin(1), exp(2), int(3.9), split(\"a:b:c\", p, \":\"), p[3];"
                      " s = \"aXbX\"; gsub(/X/, \"-\", s); print s; printf \"%c%5.2f%x\\n\", 65, 3.14159, 255 }"])
add("gawk", ["gawk", "BEGIN { PROCINFO[\"sorted_in\"] = \"@ind_str_asc\" } { n[$1]++ } END { for (w in n) print w, n[w]; print strftime(\"%F\", 0, 1) }",
             "/data/words.txt"])
add("gawk.regex", ["gawk", "match($0, /([a-z]+) (fox|dog)/, m) { print m[1], m[2], RSTART }", "/data/words.txt"])
add("gawk.getline", ["gawk", "BEGIN { while ((getline line < \"/data/versions\") > 0) n++; print n; print \"x\" > \"/tmp/out\"; close(\"/tmp/out\");"
                     " getline y < \"/tmp/out\"; print y }"])
for name, program in {
    "strings": "print(('%5.2f|%q|%s'):format(3.14159, 'a\\nb', true)) for w in ('one two three'):gmatch('%a+') do io.write(w:upper(), ' ') end print()"
               " print(('x'):rep(10, ','), ('hello world'):gsub('o', '0'))",
    "tables": "local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1009 end table.sort(t) print(t[1], t[500], t[1000], #t, table.concat(t, ',', 1, 10))",
    "coroutines": "local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end"
                  " local s = 0 for i in gen(10000) do s = s + i end print(s)",
    "errors": "print(select('#', pcall(error, {code = 2}))) print(pcall(function() local x = nil; return x.y end)) print(select('#', xpcall(error, debug.traceback, 'x')))",
    "files": "local f = assert(io.open('/tmp/lua.txt', 'w')) for i = 1, 100 do f:write(i, '\\n') end f:close() local n = 0 for l in io.lines('/tmp/lua.txt') do"
             " n = n + tonumber(l) end print(n) print(os.remove('/tmp/lua.txt'), io.open('/tmp/lua.txt'))",
    "integers": "print(1 // 0.0, 7 // 2, -7 // 2, 7 % -3, 2^53, 1 << 62, math.maxinteger + 1 == math.mininteger, 3 | 4, ~0, 10 / 2)",
    "utf8": "for p, c in utf8.codes('äß€') do io.write(p, ':', c, ' ') end print(utf8.len('日本語'), utf8.char(228, 8364))",
    "gc": "local t for i = 1, 200000 do t = {i, {i}} end collectgarbage() print(collectgarbage('count') < 2000)"
          " local w = setmetatable({}, {__mode = 'k'}) w[{}] = 1 collectgarbage() print(next(w))",
    "os": "print(os.getenv('HOME'), os.getenv('NONE'), os.date('!%Y-%m-%d', 86400), os.time{year=2000, month=1, day=1, hour=0}, type(os.clock()))",
    "goto": "for i = 1, 3 do for j = 1, 3 do if j == 2 then goto next end io.write(i, j, ' ') ::next:: end end print()",
    "metatables": "local V = {} V.__index = V V.__add = function(a, b) return setmetatable({x = a.x + b.x}, V) end V.__tostring = function(v) return 'V' .. v.x end"
                  " V.__close = function() print('closed') end do local c <close> = setmetatable({x = 1}, V) print(tostring(c + c)) end",
    "string-pack": "print(('>I4i2z'):len(), string.pack('>I4i2z', 1, -2, 'ab'):byte(1, -1)) print(string.unpack('<d', string.pack('<d', 1.5)))",
}.items():
    add(f"lua.{name}", ["lua5.4", "-e", program])
add("lua.error", ["lua5.4", "-e", "error('boom')"], status=1)
add("lua.exit", ["lua5.4", "-e", "print 'x' os.exit(7)"], status=7)
add("lua.stdin", ["lua5.4", "-"], stdin="for l in io.lines('/data/versions') do print(#l, l) end io.stderr:write('to stderr\\n')")

add("jq.pretty", "jq . /data/data.json")
add("jq.filter", ["jq", "-c", "[.list[] | numbers | . * 2], (.list[3].deep | length), .text", "/data/data.json"])
add("jq.program", ["jq", "-n", "-r", "[range(10)] | map(select(. % 2 == 0)) | add, (now | type), (\"2015-03-05T23:51:47Z\" | fromdate), @base64 \"x\\(1 + 1)\""])
add("jq.error", "jq .a.b", stdin='{"a": 1}', status=5)
add("jq.sort", ["jq", "-s", "-c", "sort_by(.n) | group_by(.k) | map({k: .[0].k, s: (map(.n) | add)})"],
    stdin="".join(f'{{"n": {n * 31 % 17}, "k": "{"abc"[n % 3]}"}}\n' for n in range(50)))

add("sqlite.memory", ["sqlite3", ":memory:"], stdin="create table t(a integer primary key, b text, c real);\n"
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000) insert into t select i, printf('row %d', i * 7919 % 1000), i / 3.0 from n;\n"
    "create index tb on t(b);\nselect count(*), sum(a), min(b), max(c) from t;\nselect b from t order by b limit 5;\nexplain query plan select * from t where b = 'x';\n"
    "select json_extract('{\"a\":[1,2]}', '$.a[1]'), length(randomblob(5)), date(0, 'unixepoch');\n")
add("sqlite.file", ["sqlite3", "/tmp/test.db"], stdin="pragma journal_mode=wal;\ncreate table t(x);\nbegin;\n" + "".join(f"insert into t values({i});\n" for i in range(300))
    + "commit;\nselect sum(x) from t;\nbegin; delete from t where x % 2; rollback;\nselect count(*) from t;\npragma integrity_check;\nvacuum;\n.tables\n.schema\n")
add("sqlite.journal", ["sqlite3", "/tmp/test.db"], stdin="pragma journal_mode;\ncreate table t(x unique, y);\ninsert into t values(1, 'a');\ninsert into t values(1, 'b');\n"
    "insert or replace into t values(1, 'c');\nselect * from t;\nattach '/tmp/other.db' as o;\ncreate table o.u as select * from t;\nselect * from o.u;\n"
    "pragma wal_checkpoint;\n", status=1)
add("sqlite.error", ["sqlite3", ":memory:", "select nothing"], status=1)
add("sqlite.modes", ["sqlite3", "-json", "/tmp/m.db", "create table t(a, b); insert into t values(1, 'x'), (null, x'00ff'); select * from t;"])

for name, program in {
    "regex": 'my $t = "The year 1999 and 2024"; print join(",", $t =~ /(\\d{4})/g), "\\n"; (my $u = $t) =~ s/(\\w+)/\\u\\L$1/g; print "$u\\n"; print "ok\\n" if "abcabc" =~ /^(?<x>abc)\\k<x>$/;',
    "hashes": 'my %h; $h{$_ % 7}++ for 1 .. 1000; print map { "$_=$h{$_}\\n" } sort keys %h; my @s = sort { $b <=> $a } map { $_ * 7919 % 1009 } 1 .. 100; print "@s[0 .. 5]\\n";',
    "files": 'open my $f, ">", "/tmp/p" or die; print $f "line $_\\n" for 1 .. 50; close $f; open $f, "<", "/tmp/p"; my @l = <$f>; print scalar(@l), $l[-1];'
             ' rename "/tmp/p", "/tmp/q"; print -s "/tmp/q", -e "/tmp/p" ? "there" : "gone", "\\n"; unlink "/tmp/q"; opendir my $d, "/tmp"; print join(",", grep !/^\\./, readdir $d), "\\n";',
    "pack": 'print unpack("H*", pack("NnCA3w", 1, 2, 3, "ab", 300)), "\\n"; printf "%vd %s %b %o %e\\n", "1.22.333", "x" x 3, 10, 8, 12345.678;',
    "closures": 'sub make { my $n = shift; return sub { $n += shift } } my $c = make(10); $c->(5); print $c->(1), "\\n"; local $@; eval { die { code => 3 } }; print $@->{code}, "\\n";',
    "sprintf": 'print join(" ", map { sprintf "%.3g", sqrt $_ } 1 .. 10), "\\n"; print ucfirst(lc("HELLO")), reverse("abc") . "", "\\n"; print join(",", (1 .. 5)[1, 3]), "\\n";',
    "signals": '$SIG{USR1} = sub { print "got $_[0]\\n" }; kill USR1 => $$; $SIG{ALRM} = sub { die "alarm\\n" }; eval { alarm 1; select undef, undef, undef, 5; }; print $@;',
    "modules": 'use List::Util qw(sum max first); use POSIX qw(floor strftime); use Data::Dumper; $Data::Dumper::Sortkeys = 1; print sum(1 .. 10), max(3, 9, 2), first { $_ > 4 } (1 .. 9);'
               ' print floor(-1.5), strftime("%Y", gmtime 0), "\\n", Dumper({a => [1, {b => 2}]});',
    "sort": 'my @a = map { ($_ * 1103515245 + 12345) & 0x7fffffff } 1 .. 50000; my $s = 0; $s = ($s * 31 + $_) & 0xffffffff for sort { $a <=> $b } @a; print "$s\\n";',
    "process": 'print "pid ", ($$ > 0 ? "positive" : "not"), "\\n"; $0 = "renamed"; print "@ARGV|$0\\n";',
}.items():
    add(f"perl.{name}", ["perl", "-e", program])
add("perl.lines", ["perl", "-lane", "$n{$F[0]}++; END { print \"$_ $n{$_}\" for sort keys %n }", "/data/words.txt"])
add("perl.die", ["perl", "-e", "die \"stop\\n\""], status=255)
add("perl.warn", ["perl", "-we", "my $x; print $x + 1, qq(\\n)"])

for algorithm in ("sha256", "sha512", "sha3-256", "md5", "blake2b512", "sm3"):
    add(f"openssl.{algorithm}", f"openssl dgst -{algorithm} /data/random.bin /data/empty")
add("openssl.hmac", "openssl dgst -sha256 -hmac key /data/small.bin")
add("openssl.encrypt", "openssl enc -aes-256-cbc -K " + "0f" * 32 + " -iv " + "a1" * 16 + " -in /data/small.bin")
add("openssl.decrypt", "openssl enc -d -aes-128-ctr -K " + "0f" * 16 + " -iv " + "a1" * 16, stdin=b"x" * 10000)
add("openssl.base64", "openssl base64 -in /data/small.bin")
add("openssl.prime", "openssl prime 18446744073709551557 100")
add("openssl.version", "openssl version")
add("openssl.key", "openssl genpkey -algorithm ed25519 -out /tmp/key", silent=True)
add("openssl.rand", "openssl rand -out /tmp/r 32", silent=True)

add("file", "file /data/random.bin /data/words.txt /usr/bin/ls /data/archive.tar /data/archive.tar.gz /data/tree/link /data/tree /data/data.json /data/utf8.txt /data/empty")
add("file.mime", "file -i /data/dos.txt /usr/bin/dash /data/tree/a/two.c")

# dash, without any program
for name, script in {
    "arithmetic": "i=0; s=0; while [ $i -lt 2000 ]; do s=$((s + i * i % 7)); i=$((i + 1)); done; echo $s $((0x1f | 64)) $((1 << 20)) $((-7 / 2)) $((5 > 3 ? 1 : 2))",
    "strings": "x=/usr/lib/file.tar.gz; echo ${x##*/} ${x%.*} ${x%%.*} ${#x} ${y:-unset} ${x:+set}; printf '%s-%03d\\n' a 5 b 6",
    "functions": "f() { local a=$1; [ $a -le 1 ] && { r=1; return; }; f $((a - 1)); r=$((r * a)); }; f 15; echo $r; set -- one 'two words' three; for w; do echo \"<$w>\"; done; shift 2; echo $# $1",
    "case": "for w in apple Banana 42 x.c; do case $w in [0-9]*) echo number;; *.c) echo C;; [A-Z]*) echo capital;; *) echo other;; esac; done",
    "glob": "cd /data/tree && echo * && echo b/*/* .h* && echo no*match; cd /data/many && set -- file-00[0-3]*; echo $#",
    "redirect": "echo one >/tmp/x; echo two >>/tmp/x; while read -r l; do echo \"[$l]\"; done </tmp/x; exec 3</tmp/x; read a <&3; echo $a; exec 3<&-; echo err >&2; : >/tmp/y; [ -e /tmp/y ] && echo there",
    "read": "while IFS=: read -r a b c; do echo \"$c|$a\"; done",
    "trap": "trap 'echo exiting' EXIT; trap 'echo usr1' USR1; kill -USR1 $$; echo after; exit 3",
    "test": "[ -d /data ] && [ ! -x /data/empty ] && [ 3 -gt 2 ] && [ abc != abd ] && echo yes; test -L /bin; echo $?; umask; umask 077; umask",
    "errexit": "eval 'a=1; b=2'; echo $a$b; set -e; echo before; false; echo never",
    "error": "set -u; echo ${nothing}",
    "command": "command -v ls; type cd; command -v none; echo $?; hash; export A=1; readonly A; A=2; echo never",
    "getopts": "set -- -a -b val rest; while getopts ab: o; do echo $o $OPTARG; done; shift $((OPTIND - 1)); echo $1",
    "times": "wait; echo $?; ulimit -n; ulimit -s; ulimit -c",
}.items():
    add(f"dash.{name}", ["dash", "-c", script], stdin="a:b:c\nd:e:f:g\n" if name == "read" else "", status=None)
add("dash.missing", ["dash", "-c", "exec /none/there"], status=127)
add("dash.syntax", ["dash", "-c", "if true"], status=2)
