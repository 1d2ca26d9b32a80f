import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { sequence } from '#ca/pkix/der.ts';
import { splitDer } from '#device-agent/tpm/read-nv.ts';

const short = sequence(randomBytes(20));
const certificate = sequence(randomBytes(900));

describe('what an NV index holds', () => {
  it.each([
    ['nothing else', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(300)],
    ['ones', Buffer.alloc(300, 0xff)],
    ['the start of something that is not whole', certificate.subarray(0, 500)],
  ])('is cut to the certificate when after it comes %s', (_what, padding) => {
    expect(splitDer(Buffer.concat([certificate, padding]))).toEqual([certificate]);
  });

  it('is several certificates when one follows the other', () => {
    expect(splitDer(Buffer.concat([certificate, short, certificate, Buffer.alloc(9)]))).toEqual([
      certificate,
      short,
      certificate,
    ]);
  });

  it('is nothing when it was never written', () => {
    expect(splitDer(Buffer.alloc(64, 0xff))).toEqual([]);
    expect(splitDer(Buffer.alloc(0))).toEqual([]);
  });
});
