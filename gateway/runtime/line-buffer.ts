type Sink = { write(text: string): unknown };

/** Lines on their way to a file or pipe: gathered for `delayMs` or until there are `maxLength` characters of them. */
export class LineBuffer {
  readonly #sink: Sink;
  readonly #delayMs: number;
  readonly #maxLength: number;
  #text = '';
  #timer: NodeJS.Timeout | undefined;

  /** @param sink has written when its `write` returns */
  constructor(sink: Sink, options: { delayMs: number; maxLength: number }) {
    this.#sink = sink;
    this.#delayMs = options.delayMs;
    this.#maxLength = options.maxLength;
    // process.exit, the end of the event loop and an uncaught exception all come by here.
    process.on('exit', () => this.flush());
  }

  write(line: string): void {
    this.#text += line;
    if (this.#text.length >= this.#maxLength) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), this.#delayMs).unref();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#text === '') return;
    const text = this.#text;
    this.#text = '';
    this.#sink.write(text);
  }
}
