import type { DemoStage } from './demo-stage.ts';
import type { Timeline } from './timeline.ts';

/** Which step, what was expected, what was found, and the last lines of every process, on stderr. */
export function printFailure(stage: DemoStage, timeline: Timeline, error: unknown): void {
  const step = timeline.steps.at(-1);
  const lines = [`\nThe demo failed at step ${step?.number}: ${step?.title}`];
  if (step?.failure?.expected !== undefined) {
    lines.push(`  expected: ${step.failure.expected}`, `  found:    ${step.failure.found}`);
  } else lines.push(`  ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  for (const { name, tail } of stage.processes) {
    lines.push(`\nLast lines of ${name}:`, ...tail.slice(-15).map((line) => `  ${line}`));
  }
  lines.push('\nnext: run it again with `npm run demo -- --keep` and look at logs/ in the folder it names');
  process.stderr.write(`${lines.join('\n')}\n`);
}
