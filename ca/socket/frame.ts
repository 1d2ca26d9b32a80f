/**
 * One message on the authority's socket: u32 BE octets that follow | u32 BE octets of JSON | JSON | attachment.
 * The attachment carries DER as it is: base64 inside JSON costs more than signing, for a CRL of 100 000 entries.
 */
export type Frame = { json: unknown; attachment: Buffer };

/** Stops unbounded buffering; a CRL of 100 000 entries has 5 MB. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const MAX_JSON_BYTES = 64 * 1024;
const HEADER_BYTES = 8;
/** Far more than any message has, far less than what exhausts the stack of whoever walks through it. */
const MAX_JSON_DEPTH = 16;

export class FrameError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'FrameError';
  }
}

/** @returns header with JSON, and the attachment as given. @throws FrameError when it is too large */
export function formatFrame(json: unknown, attachment: Uint8Array = Buffer.alloc(0)): [Buffer, Uint8Array] {
  const text = Buffer.from(JSON.stringify(json), 'utf8');
  const length = 4 + text.length + attachment.length;
  if (text.length > MAX_JSON_BYTES || length > MAX_FRAME_BYTES) throw new FrameError('the message is too large');
  const head = Buffer.allocUnsafe(HEADER_BYTES + text.length);
  head.writeUInt32BE(length, 0);
  head.writeUInt32BE(text.length, 4);
  head.set(text, HEADER_BYTES);
  return [head, attachment];
}

/** Cuts a stream of octets into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #buffered = 0;

  /** @throws FrameError when these octets are no frames: nothing more can be read from this stream */
  read(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const frames: Frame[] = [];
    for (
      let length = this.#nextLength();
      length !== undefined && this.#buffered >= 4 + length;
      length = this.#nextLength()
    ) {
      frames.push(parseFrame(this.#take(4 + length)));
    }
    return frames;
  }

  /** Octets after the length of the frame to come. */
  #nextLength(): number | undefined {
    if (this.#buffered < 4) return undefined;
    // Chunks are joined only when the length is spread over several.
    if ((this.#chunks[0]?.length ?? 0) < 4) this.#chunks = [Buffer.concat(this.#chunks)];
    const length = this.#chunks[0]?.readUInt32BE(0) ?? 0;
    if (length < 4 || length > MAX_FRAME_BYTES) throw new FrameError(`a frame of ${length} octets`);
    return length;
  }

  #take(count: number): Buffer {
    const [first] = this.#chunks;
    const all = first !== undefined && first.length >= count ? first : Buffer.concat(this.#chunks);
    const rest = all === first ? this.#chunks.slice(1) : [];
    this.#chunks = all.length > count ? [all.subarray(count), ...rest] : rest;
    this.#buffered -= count;
    return all.subarray(0, count);
  }
}

function parseFrame(frame: Buffer): Frame {
  const jsonLength = frame.readUInt32BE(4);
  if (jsonLength > MAX_JSON_BYTES || HEADER_BYTES + jsonLength > frame.length)
    throw new FrameError('a frame with wrong lengths');
  const end = HEADER_BYTES + jsonLength;
  const json = parseJson(frame.toString('utf8', HEADER_BYTES, end));
  if (!isWithin(json, MAX_JSON_DEPTH)) throw new FrameError('a frame with JSON that is nested too deep');
  return { json, attachment: frame.subarray(end) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FrameError('a frame without JSON', { cause });
  }
}

function isWithin(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isWithin(inner, levels - 1));
}
