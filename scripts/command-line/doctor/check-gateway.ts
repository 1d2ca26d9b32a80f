import type { CaDescription, HealthCheck } from '#gateway/contract/operator-api.ts';
import { CommandError } from '#scripts/command-line/command-error.ts';
import { formatTime } from '#scripts/command-line/format-time.ts';
import { connectOperator, type OperatorClient } from '#scripts/command-line/operator-client.ts';
import { readRunFile } from '#scripts/command-line/run-file.ts';
import { checkDoors } from './check-doors.ts';

/** The gateway runs, answers, and says itself that all is well; every door opens. */
export async function checkGateway(dataDir: string, now: number): Promise<HealthCheck[]> {
  const name = 'gateway';
  try {
    const { pid, doors } = await readRunFile(dataDir);
    const operator = await connectOperator(dataDir);
    const health = healthChecks(await operator.call<unknown>('checkHealth'));
    return [
      { name, ok: true, detail: `runs as process ${pid} and answers on its operator socket` },
      ...health,
      await crlCheck(operator, now),
      ...(doors ? await checkDoors(doors, dataDir) : []),
    ];
  } catch (error) {
    const advice = error instanceof CommandError ? error.advice : undefined;
    const detail = error instanceof Error ? error.message : String(error);
    return [{ name, ok: false, detail, ...(advice ? { advice } : {}) }];
  }
}

/** The answer is a list, bare or as `checks`. */
function healthChecks(answer: unknown): HealthCheck[] {
  if (Array.isArray(answer)) return answer as HealthCheck[];
  const { checks, items } = (answer ?? {}) as { checks?: HealthCheck[]; items?: HealthCheck[] };
  return checks ?? items ?? [];
}

async function crlCheck(operator: OperatorClient, now: number): Promise<HealthCheck> {
  const name = 'CRL';
  const { crl } = await operator.call<CaDescription>('describeCa');
  if (!crl) return { name, ok: false, detail: 'none has been made yet', advice: 'see the gateway log for why' };
  const detail = `number ${crl.number}, ${crl.entries} entries, next update ${formatTime(crl.nextUpdate, now)}`;
  if (crl.nextUpdate > now) return { name, ok: true, detail };
  return { name, ok: false, detail: `out of date: ${detail}`, advice: 'see the gateway log for why it is not rebuilt' };
}
