"""Cases for Node.js."""
from harness import case
from tree import TOOL, Tree, Unavailable, package_files

NODE = "/usr/bin/node"
MODULES = ("node-acorn", "node-cjs-module-lexer", "node-undici")  # which Debian's node reads as it starts


def node_files():
    """The program and its libraries' packages; npm and headers are of no use here."""
    files = package_files("nodejs")
    for package in MODULES:
        try:
            files += package_files(package)
        except Unavailable:
            pass  # others have all in one package
    return [path for path in files if path.startswith((NODE, "/usr/share/nodejs", "/usr/lib/x86_64-linux-gnu"))]


class NodeTree(Tree):
    """For the native run the files of the packages, for the VM what `hyperlight pack` takes."""

    def _sources(self, made):
        self.files = node_files()
        return super()._sources(made)

    def _image_command(self, path):
        return [TOOL, "pack", "--preset", "node", "-o", path, NODE, f"{self.folder}/data:/data"]


TREE = NodeTree("node")

CASES = {
    "hello": "console.log('hello', process.argv.length, 1 + 1)",
    "json": "const o = JSON.parse('{\"a\":[1,2,{\"b\":null}],\"s\":\"\\\\u00e4\"}'); o.n = 1e21; console.log(JSON.stringify(o), JSON.stringify(o, null, 2)); try { JSON.parse('{') } catch (e) { console.log(e.name) }",
    "promises": "Promise.resolve(1).then(x => { console.log('then', x); throw new Error('no') }).catch(e => console.log(e.message)).finally(() => console.log('finally'));"
                " Promise.allSettled([1, Promise.reject(2)]).then(r => console.log(JSON.stringify(r))); (async () => { for await (const x of (async function* () { yield 1; yield 2 })()) console.log(x) })(); console.log('sync')",
    "timers": "setTimeout(() => console.log('300'), 300); setTimeout(() => console.log('100'), 100); process.nextTick(() => console.log('tick'));"
              " Promise.resolve().then(() => console.log('micro')); let n = 0; const i = setInterval(() => { console.log('interval', ++n); if (n == 3) clearInterval(i) }, 400); console.log('main')",
    "immediate": "setImmediate(() => { console.log('immediate'); setImmediate(() => console.log('second')); process.nextTick(() => console.log('tick')) }); console.log('main')",
    "hashes": "const c = require('crypto'); for (const h of ['md5', 'sha1', 'sha256', 'sha512', 'sha3-256']) console.log(h, c.createHash(h).update('hyperlight').digest('hex'));"
              " console.log(c.createHmac('sha256', 'k').update('x').digest('base64'), c.pbkdf2Sync('p', 's', 1000, 32, 'sha256').toString('hex'), c.randomBytes(16).length, c.scryptSync('p', 's', 16).toString('hex'))",
    "cipher": "const c = require('crypto'); const k = Buffer.alloc(32, 1), iv = Buffer.alloc(12, 2); const e = c.createCipheriv('aes-256-gcm', k, iv); const x = Buffer.concat([e.update('secret'), e.final()]);"
              " console.log(x.toString('hex'), e.getAuthTag().toString('hex')); const { publicKey, privateKey } = c.generateKeyPairSync('ed25519'); console.log(c.verify(null, Buffer.from('m'), publicKey, c.sign(null, Buffer.from('m'), privateKey)))",
    "pbkdf2-async": "require('crypto').pbkdf2('p', 's', 20000, 32, 'sha512', (e, k) => console.log(e, k.toString('hex'))); console.log('first')",
    "files": "const fs = require('fs'); fs.mkdirSync('/tmp/n/a', { recursive: true }); fs.writeFileSync('/tmp/n/f', 'line\\n'.repeat(1000)); fs.appendFileSync('/tmp/n/f', 'end'); console.log(fs.readFileSync('/tmp/n/f', 'utf8').length,"
             " fs.statSync('/tmp/n/f').size, fs.existsSync('/none')); fs.renameSync('/tmp/n/f', '/tmp/n/a/g'); fs.symlinkSync('a/g', '/tmp/n/l'); console.log(fs.readdirSync('/tmp/n').sort(), fs.readlinkSync('/tmp/n/l'), fs.realpathSync('/tmp/n/l'));"
             " try { fs.readFileSync('/none') } catch (e) { console.log(e.code, e.message) } fs.rmSync('/tmp/n', { recursive: true }); console.log(fs.existsSync('/tmp/n'))",
    "files-async": "const fs = require('fs/promises'); (async () => { await fs.writeFile('/tmp/x', Buffer.alloc(300000, 'ab')); const h = await fs.open('/tmp/x', 'r+'); const { bytesRead, buffer } = await h.read(Buffer.alloc(10), 0, 10, 100);"
                   " console.log(bytesRead, buffer.toString()); await h.truncate(7); await h.close(); console.log(await fs.readFile('/tmp/x', 'utf8')); console.log((await Promise.all([1, 2, 3].map(async i => { await fs.writeFile('/tmp/' + i, '' + i); return fs.readFile('/tmp/' + i, 'utf8') }))).join()) })()",
    "read-data": "const fs = require('fs'); console.log(require('crypto').createHash('sha256').update(fs.readFileSync('/data/random.bin')).digest('hex'), fs.readFileSync('/data/words.txt', 'utf8').split('\\n').length, fs.readdirSync('/data/many').length)",
    "streams": "const { Readable, Transform, pipeline } = require('stream'); const fs = require('fs'); let n = 0; pipeline(fs.createReadStream('/data/big.txt', { highWaterMark: 1000 }), new Transform({ transform(c, e, cb) { n += c.length; cb(null, c.toString().toUpperCase()) } }),"
               " fs.createWriteStream('/tmp/out'), e => console.log(e, n, fs.statSync('/tmp/out').size)); Readable.from(['a', 'b', 'c']).on('data', d => console.log(d)).on('end', () => console.log('end'))",
    "stdin": "let s = ''; process.stdin.setEncoding('utf8').on('data', d => s += d).on('end', () => console.log(s.length, s.split('\\n')[1])); process.stderr.write('err\\n')",
    "readline": "const r = require('readline').createInterface({ input: process.stdin }); let n = 0; r.on('line', l => n += l.length).on('close', () => console.log('lines', n))",
    "workers": "const { Worker, isMainThread } = require('worker_threads'); const run = i => new Promise((ok, no) => { const w = new Worker(`const { parentPort, workerData } = require('worker_threads'); let s = 0; for (let i = 0; i < 1e6; i++) s += i % workerData; parentPort.postMessage(s)`, { eval: true, workerData: i });"
               " w.on('message', ok).on('error', no) }); (async () => { console.log(isMainThread, await Promise.all([3, 5, 7, 11].map(run))) })()",
    "atomics": "const { Worker } = require('worker_threads'); const b = new SharedArrayBuffer(16), v = new Int32Array(b); const w = new Worker(`const { workerData } = require('worker_threads'); const v = new Int32Array(workerData); Atomics.wait(v, 0, 0); for (let i = 0; i < 1000; i++) Atomics.add(v, 1, 1)`, { eval: true, workerData: b });"
               " w.on('online', () => setTimeout(() => { Atomics.store(v, 0, 1); Atomics.notify(v, 0) }, 20)).on('exit', c => console.log('exit', c, v[1]))",
    "worker-error": "const { Worker } = require('worker_threads'); new Worker('throw new TypeError(\"inside\")', { eval: true }).on('error', e => console.log(e.name, e.message)).on('exit', c => console.log(c));",
    "worker-terminate": "const { Worker } = require('worker_threads'); const t = new Worker('for (;;);', { eval: true }); t.on('online', () => t.terminate().then(c => console.log('terminated', c)))",
    "channel": "const { MessageChannel } = require('worker_threads'); const { port1, port2 } = new MessageChannel(); port2.on('message', m => { console.log(m); port2.close() }); port1.postMessage({ a: new Map([[1, 2]]), d: new Date(0) })",
    "jit": "function f(n) { let a = 0; for (let i = 0; i < n; i++) a = (a * 31 + i) | 0; return a } for (let i = 0; i < 200; i++) f(10000); console.log(f(3e7)); class P { constructor(x) { this.x = x } get d() { return this.x * 2 } } let s = 0; for (let i = 0; i < 1e6; i++) s += new P(i).d; console.log(s)",
    "floats": "const a = new Float64Array(1e5); for (let r = 0; r < 50; r++) for (let i = 0; i < a.length; i++) a[i] += Math.sin(i) * r; console.log(a.reduce((x, y) => x + y).toFixed(6), Math.hypot(3, 4), (0.1 + 0.2).toString())",
    "deoptimise": "function g(x) { return x.v + 1 } for (let i = 0; i < 1e5; i++) g({ v: i }); console.log(g({ v: 'a' }), g({ w: 1, v: 2.5 }), g({ v: 1n === 1n }))",
    "wasm": "const b = Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex'); WebAssembly.instantiate(b).then(m => { let s = 0; for (let i = 0; i < 1e6; i++) s = m.instance.exports.add(s, i); console.log(s) })",
    "gc": "let kept = []; for (let i = 0; i < 300; i++) { const g = new Array(10000).fill(i); if (i % 50 == 0) kept.push(g) } console.log(kept.map(k => k[5])); const w = new WeakRef({ a: 1 }); console.log(typeof w.deref()); let s = ''; for (let i = 0; i < 1e5; i++) s += i; console.log(s.length)",
    "buffers": "const b = Buffer.from('häl\\u{1F642}'); console.log(b, b.toString('base64'), b.readUInt16BE(1), Buffer.concat([b, Buffer.alloc(2)]).length, b.slice(1, 3).equals(Buffer.from([0xc3, 0xa4])), Buffer.compare(b, Buffer.from('a')), b.indexOf('l'), new TextDecoder('utf-16le').decode(Buffer.from('6100', 'hex')))",
    "zlib": "const z = require('zlib'), d = 'text '.repeat(10000); console.log(z.gunzipSync(z.gzipSync(d)).length, z.deflateSync(d).toString('base64').length, z.brotliDecompressSync(z.brotliCompressSync(d)).toString() === d, z.crc32 ? 1 : 1); z.gzip(d, (e, r) => z.gunzip(r, (e, t) => console.log(t.length))); try { z.inflateSync(Buffer.from('x')) } catch (e) { console.log(e.code) }",
    "events": "const E = require('events'); const e = new E(); e.once('a', x => console.log('once', x)); e.on('a', x => console.log('on', x)); e.emit('a', 1); e.emit('a', 2); console.log(e.listenerCount('a')); try { e.emit('error', new Error('unhandled')) } catch (x) { console.log(x.message) } const t = new EventTarget(); t.addEventListener('x', v => console.log(v.type)); t.dispatchEvent(new Event('x'))",
    "async-hooks": "const { AsyncLocalStorage, createHook } = require('async_hooks'); const s = new AsyncLocalStorage(); s.run(5, () => { setTimeout(() => console.log(s.getStore()), 5); Promise.resolve().then(() => console.log('p', s.getStore())) }); console.log(s.getStore()); let n = 0; createHook({ init() { n++ } }).enable(); setImmediate(() => console.log(n > 0))",
    "process": "console.log(process.platform, process.arch, process.cwd(), process.env.HOME, process.argv0.length > 0, process.exitCode, typeof process.pid, process.memoryUsage().rss > 1e6, process.hrtime.bigint() > 0n, process.uptime() > 0); process.on('exit', c => console.log('exit', c)); process.exitCode = 3",
    "signals": "process.on('SIGUSR2', s => { console.log('got', s); clearInterval(i) }); const i = setInterval(() => {}, 1000); process.kill(process.pid, 'SIGUSR2')",
    "uncaught": "process.on('uncaughtException', e => console.log('caught', e.message)); setTimeout(() => { throw new Error('late') }, 5); process.on('unhandledRejection', r => console.log('rejected', r)); Promise.reject('x')",
    "throw": "console.log('before'); process.exitCode = 1; process.emitWarning = () => {}; try { null.x } catch (e) { console.log(e.constructor.name, e.message) } process.exit(9)",
    "url": "const u = new URL('https://u:p@example.org:8080/a/b?q=1&q=2#h'); console.log(u.host, u.searchParams.getAll('q'), u.href, require('url').fileURLToPath('file:///tmp/x'), require('querystring').stringify({ a: [1, 2], b: 'ä' }), require('path').relative('/a/b', '/a/c/d'))",
    "intl": "console.log(new Intl.NumberFormat('en-US').format(1234567.891), new Date(0).toISOString(), new Date(0).toLocaleDateString('en-GB', { timeZone: 'UTC' }), 'ä'.normalize('NFD').length, ['b', 'ä', 'a'].sort(new Intl.Collator('de').compare).join(''))",
    "regex": "console.log('2024-05-06'.replace(/(?<y>\\d+)-(?<m>\\d+)/u, '$<m>/$<y>'), [...'a1b22'.matchAll(/\\d+/g)].map(m => m.index), /\\p{Lu}/u.test('Ä'), ('x'.repeat(20) + 'y').match(/(x+x+)+y/)[0].length)",
    "bigint": "let f = 1n; for (let i = 1n; i <= 300n; i++) f *= i; console.log(String(f).length, f % 1000007n, BigInt.asIntN(8, 255n), (2n ** 200n).toString(16))",
    "modules": "const fs = require('fs'); fs.writeFileSync('/tmp/m.js', 'exports.x = 5; exports.f = __filename'); console.log(require('/tmp/m.js')); fs.writeFileSync('/tmp/m.mjs', 'export default 7; export const y = 8'); import('/tmp/m.mjs').then(m => console.log(m.default, m.y)); try { require('/tmp/none') } catch (e) { console.log(e.code) }",
    "vm": "const vm = require('vm'); const c = vm.createContext({ x: 2 }); console.log(vm.runInContext('x * 21', c)); try { vm.runInNewContext('for (;;);', {}, { timeout: 30 }) } catch (e) { console.log(e.code) } try { vm.runInThisContext('(') } catch (e) { console.log(e.name) }",
    "performance": "const { performance } = require('perf_hooks'); const a = performance.now(); const { setTimeout: s } = require('timers/promises'); s(20).then(() => { const d = performance.now() - a; console.log(d >= 19 && d < 5000) })",
    "deep": "function d(n) { return n ? 1 + d(n - 1) : 0 } console.log(d(5000)); try { (function f() { f() })() } catch (e) { console.log(e instanceof RangeError) }",
    "spawn-refused": "const { spawnSync } = require('child_process'); const r = spawnSync('/none/program'); console.log(r.error instanceof Error)",
    "fetch": "process.emitWarning = () => {}; console.log(new Headers({ a: 'b' }).get('a'), new URLSearchParams('a=1').get('a')); fetch('data:text/plain,hello').then(r => r.text()).then(t => console.log(t))",
    "large-output": "for (let i = 0; i < 20000; i++) console.log('line', i)",
}
STATUS = {"process": 3, "throw": 9}
STDIN = {"stdin": "first\nsecond\n" * 2000, "readline": "some line\n" * 3000}

for name, program in CASES.items():
    case(name, [NODE, "-e", program], TREE, memory="1G", status=STATUS.get(name, 0), stdin=STDIN.get(name, ""), quick=False)
case("error", [NODE, "-e", "throw new RangeError('boom')"], TREE, memory="1G", status=1, quick=False)
case("syntax", [NODE, "-e", "let = ="], TREE, memory="1G", status=1, quick=False)
case("script", [NODE, "-"], TREE, memory="1G", stdin="console.log(__filename, require.main === module)", quick=False)
