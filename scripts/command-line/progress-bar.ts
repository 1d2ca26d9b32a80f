import cliProgress from 'cli-progress';

export type ProgressBar = Disposable & {
  /** `total`: when more has turned up. */ advance(done: number, total?: number): void;
};

/** On a terminal a bar on stderr, so that stdout stays the result; elsewhere nothing. */
export function startProgressBar(total: number, unit: string): ProgressBar {
  if (!process.stderr.isTTY) return { advance: () => {}, [Symbol.dispose]: () => {} };
  const bar = new cliProgress.SingleBar(
    {
      stream: process.stderr,
      format: `[{bar}] {value}/{total} ${unit}`,
      barsize: 28,
      hideCursor: true,
      // The result takes its place.
      clearOnComplete: true,
    },
    cliProgress.Presets.rect,
  );
  bar.start(total, 0);
  return {
    advance: (done, now) => {
      if (now !== undefined) bar.setTotal(now);
      bar.update(done);
    },
    [Symbol.dispose]: () => bar.stop(),
  };
}
