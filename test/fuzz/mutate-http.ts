import * as fc from 'fast-check';

export type HttpMessage = { line: string; headers: string[]; body: string };

type Change = { at: number } & (
  | { kind: 'delete' | 'repeat' | 'chunked' | 'twice' | 'without length' }
  | { kind: 'header'; header: string }
  | { kind: 'method' | 'target' | 'version'; word: string }
  | { kind: 'body'; body: string }
);

const place = fc.nat(0xffff);
const simple = ['delete', 'repeat', 'chunked', 'twice', 'without length'] as const;

/** What servers have read in two ways (RFC 9112 6, 11.2), and what is merely too much. */
const headers = fc.constantFrom(
  'Content-Length: -1',
  'Content-Length: 0',
  'Content-Length: 5, 5',
  'Content-Length: 99999999999999999999',
  'Content-Length: 0x10',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: identity, chunked',
  'Transfer-Encoding: gzip',
  'Transfer-Encoding : chunked',
  'Host: ',
  'Host: a@b:1/../',
  'Expect: 100-continue',
  'Expect: the impossible',
  'Connection: Upgrade\r\nUpgrade: h2c',
  'Connection: close, keep-alive',
  'Authorization: Basic',
  'Authorization: Basic Og==',
  'Authorization: Basic OjpfX3Byb3RvX186',
  'Authorization: Bearer x',
  'Content-Type: application/pkcs10; x="',
  'Content-Type: multipart/form-data; boundary=x',
  'Content-Encoding: gzip',
  'Accept: application/json;q=x,*/*;q=2',
  'Gatehouse-Attempt: a-0123456789abcdef',
  'Gatehouse-Attempt: a-0123456789abcdef\r\nGatehouse-Attempt: a-fedcba9876543210',
  'User-Agent: \u0001\u007f\u00ff',
  ' folded: line',
  ': no name',
  'no colon',
  'X: \0',
  `X: ${'x'.repeat(20_000)}`,
  Array.from({ length: 200 }, (_, index) => `X-${index}: ${index}`).join('\r\n'),
);
const methods = fc.constantFrom(
  '',
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PUT',
  'PATCH',
  'post',
  'PRI',
  'X'.repeat(300),
);
const targets = fc.constantFrom(
  ...'* / // /% /%00 /%ff%fe /..%2f.. ? # http://other.example/ /__proto__'.split(' '),
  ...'/.well-known/est/ /.well-known/est/a/simpleenroll /.well-known/est/simpleenroll/'.split(' '),
  '/a b',
  '/.well-known/est/cacerts?x',
  `/${'a'.repeat(15_000)}`,
);
const versions = fc.constantFrom('', 'HTTP/0.9', 'HTTP/1.0', 'HTTP/1.9', 'HTTP/2.0', 'HTTP/11', 'HTTPS/1.1');
const bodies = fc.constantFrom(
  '',
  '\0',
  '{',
  '5\r\nabc',
  'ffffffffffffffff\r\n',
  '-1\r\n\r\n',
  '0\r\nX: y\r\n\r\n',
  'A'.repeat(70_000),
);

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constantFrom(...simple), at: place }),
  fc.record({ kind: fc.constant('header' as const), at: place, header: headers }),
  fc.record({ kind: fc.constant('header' as const), at: place, header: headers }),
  fc.record({ kind: fc.constant('method' as const), at: place, word: methods }),
  fc.record({ kind: fc.constant('target' as const), at: place, word: targets }),
  fc.record({ kind: fc.constant('version' as const), at: place, word: versions }),
  fc.record({ kind: fc.constant('body' as const), at: place, body: bodies }),
);

/** HTTP/1.1 as it stands on the wire. */
export function formatHttp({ line, headers, body }: HttpMessage): string {
  return `${line}\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n${body}`;
}

/** A right request with other methods, targets, headers, framings and bodies. */
export function mutatedHttp(valid: readonly HttpMessage[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.constantFrom(...valid), fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([message, changes]) => Buffer.from(formatHttp(changes.reduce(apply, message)), 'latin1'));
}

function apply(message: HttpMessage, change: Change): HttpMessage {
  const { line, headers, body } = message;
  const at = change.at % Math.max(1, headers.length);
  const [method = '', target = '', version = ''] = line.split(' ');
  switch (change.kind) {
    case 'delete':
      return { ...message, headers: headers.toSpliced(at, 1) };
    case 'repeat':
      return { ...message, headers: headers.toSpliced(at, 0, headers[at] ?? 'X: y') };
    case 'without length':
      return { ...message, headers: headers.filter((header) => !header.startsWith('Content-Length')) };
    case 'chunked': {
      const rest = headers.filter((header) => !header.startsWith('Content-Length'));
      const half = Math.floor(body.length / 2);
      const chunked = `${chunk(body.slice(0, half))}${chunk(body.slice(half))}0\r\n\r\n`;
      return { line, headers: [...rest, 'Transfer-Encoding: chunked'], body: chunked };
    }
    case 'twice':
      // Pipelined: what the first one leaves over is read as the second.
      return { ...message, body: `${body}${formatHttp(message)}` };
    case 'header':
      return { ...message, headers: headers.toSpliced(at, 0, change.header) };
    case 'method':
      return { ...message, line: [change.word, target, version].join(' ') };
    case 'target':
      return { ...message, line: [method, change.word, version].join(' ') };
    case 'version':
      return { ...message, line: [method, target, change.word].join(' ') };
    case 'body':
      return { ...message, body: change.body };
  }
}

function chunk(part: string): string {
  return `${part.length.toString(16)}\r\n${part}\r\n`;
}
