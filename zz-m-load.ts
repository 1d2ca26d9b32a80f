// generator: argv: port rootPem identitiesJson mode rate seconds
import { readFileSync } from 'node:fs';
import { connect, createSecureContext } from 'node:tls';
const [port, rootPem, idFile, mode, rateText, secondsText] = process.argv.slice(2) as string[];
const ids = JSON.parse(readFileSync(idFile!, 'utf8')) as { id: string; chain: string; keyPem: string; der: string }[];
const contexts = ids.map(({ chain, keyPem }) => createSecureContext({ cert: chain, key: keyPem, ca: readFileSync(rootPem!) }));
const packet = (id: string) => { const b = Buffer.from(id); const body = Buffer.concat([Buffer.from([0, 4]), Buffer.from('MQTT'), Buffer.from([4, 2, 0, 60]), Buffer.from([0, b.length]), b]); return Buffer.concat([Buffer.from([0x10, body.length]), body]); };
let ok = 0, failed = 0, codes: Record<string, number> = {};
const lat: number[] = [];
function once(i: number): Promise<void> {
  const t = performance.now();
  return new Promise((resolve) => {
    let done = false;
    const s = connect({ port: Number(port), host: '127.0.0.1', secureContext: contexts[i]!, servername: 'localhost', checkServerIdentity: () => undefined });
    s.setNoDelay(true);
    const end = (why: string) => { if (done) return; done = true; if (why === '0') { ok++; lat.push(performance.now() - t); } else { failed++; codes[why] = (codes[why] ?? 0) + 1; } s.destroy(); resolve(); };
    s.on('secureConnect', () => s.write(packet(ids[i]!.id)));
    s.on('data', (d) => end(String(d[3])));
    s.on('error', (e) => end((e as any).code ?? 'error'));
    s.on('close', () => end('closed'));
    setTimeout(() => end('timeout'), 20000).unref();
  });
}
const seconds = Number(secondsText); const rate = Number(rateText);
const start = performance.now(); const stop = start + seconds * 1000;
let n = 0;
if (mode === 'closed') {
  await Promise.all(Array.from({ length: rate }, async (_, lane) => { let k = lane; while (performance.now() < stop) { await once(k % ids.length); k += rate; } }));
} else {
  const pending = new Set<Promise<void>>();
  let maxPending = 0;
  while (performance.now() < stop) {
    const due = Math.floor(((performance.now() - start) / 1000) * rate);
    while (n < due) { const p = once(n % ids.length); pending.add(p); void p.finally(() => pending.delete(p)); n++; }
    maxPending = Math.max(maxPending, pending.size);
    await new Promise((r) => setTimeout(r, 2));
  }
  const atEnd = ok; const t = (performance.now() - start) / 1000;
  console.log(JSON.stringify({ mode, offered: n / t, okPerSecondDuring: atEnd / t, pending: pending.size, maxPending, failed, codes }));
  process.exit(0);
}
const t = (performance.now() - start) / 1000;
lat.sort((a, b) => a - b);
console.log(JSON.stringify({ mode, okPerSecond: ok / t, p50: lat[lat.length >> 1], p99: lat[Math.floor(lat.length * 0.99)], failed, codes }));
process.exit(0);
