/** @returns 4 or 16 octets, as iPAddress carries them (RFC 5280 4.2.1.6); undefined when the text is no address. */
export function parseIpAddress(text: string): Buffer | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

function parseV4(text: string): Buffer | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return Buffer.from(parts.map(Number));
}

function parseV6(text: string): Buffer | undefined {
  if (text.length > 45) return undefined;
  const lastColon = text.lastIndexOf(':');
  const tail = text.slice(lastColon + 1);
  if (tail.includes('.')) {
    const v4 = parseV4(tail);
    if (v4 === undefined) return undefined;
    const words = [v4.readUInt16BE(0), v4.readUInt16BE(2)].map((word) => word.toString(16)).join(':');
    return parseV6(`${text.slice(0, lastColon + 1)}${words}`);
  }
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head = [], rest = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const words = [...head, ...rest];
  if (!words.every((word) => /^[0-9A-Fa-f]{1,4}$/.test(word))) return undefined;
  if (halves.length === 2 ? words.length > 7 : words.length !== 8) return undefined;
  const out = Buffer.alloc(16);
  for (const [index, word] of head.entries()) out.writeUInt16BE(Number.parseInt(word, 16), index * 2);
  for (const [index, word] of rest.entries())
    out.writeUInt16BE(Number.parseInt(word, 16), 16 - (rest.length - index) * 2);
  return out;
}

/** RFC 5952 for IPv6. @returns undefined when it is neither 4 nor 16 octets. */
export function formatIpAddress(octets: Uint8Array): string | undefined {
  if (octets.length === 4) return octets.join('.');
  if (octets.length !== 16) return undefined;
  const words = Array.from({ length: 8 }, (_, i) => ((octets[i * 2] ?? 0) << 8) | (octets[i * 2 + 1] ?? 0));
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start += 1) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  if (best.length < 2) return wordsText(words);
  return `${wordsText(words.slice(0, best.start))}::${wordsText(words.slice(best.start + best.length))}`;
}

function wordsText(words: number[]): string {
  return words.map((word) => word.toString(16)).join(':');
}
