/** Those in this process who wait for a device to acknowledge a notice. What it says is recorded elsewhere. */
export class NoticeAcks {
  readonly #waiting = new Map<string, (() => void)[]>();

  /** Resolves with true at the first acknowledgement, with false after `milliseconds`. */
  wait(noticeId: string, milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const acknowledged = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        this.#forget(noticeId, acknowledged);
        resolve(false);
      }, milliseconds);
      this.#waiting.set(noticeId, [...(this.#waiting.get(noticeId) ?? []), acknowledged]);
    });
  }

  acknowledged(noticeId: string): void {
    const waiting = this.#waiting.get(noticeId) ?? [];
    this.#waiting.delete(noticeId);
    for (const resolve of waiting) resolve();
  }

  #forget(noticeId: string, resolve: () => void): void {
    const left = (this.#waiting.get(noticeId) ?? []).filter((candidate) => candidate !== resolve);
    if (left.length === 0) this.#waiting.delete(noticeId);
    else this.#waiting.set(noticeId, left);
  }
}
