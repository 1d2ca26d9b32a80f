import type { DemoStage } from './demo-stage.ts';
import { expectSoon } from './expectation.ts';

export type Message = { topic: string; payload: string };

/** Has one device publish until another one, which subscribes in its own time, has read it. */
export async function readTelemetry(
  stage: DemoStage,
  telemetry: { from: string; by: string; subtopic: string; payload: string },
): Promise<Message> {
  const { from, by, subtopic, payload } = telemetry;
  const topic = `v1/d/${from}/out/data/#`;
  let hasEnded = false;
  const listening = stage.agentOk(by, 'listen', topic, '--count', '1', '--timeout', '60').finally(() => {
    hasEnded = true;
  });
  const publishing = expectSoon(
    'the listener to hear it',
    async () => {
      if (!hasEnded) await stage.agentOk(from, 'publish', subtopic, payload);
      return hasEnded;
    },
    (ended) => ended,
    { everyMs: 100 },
  );
  const [output] = await Promise.all([listening, publishing]);
  const line: unknown = JSON.parse(output.trim().split('\n')[0] ?? '');
  return line as Message;
}
