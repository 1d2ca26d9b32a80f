import type { Command } from 'commander';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { ATTEMPT_OUTCOMES, type AttemptDetail, type AttemptOutcome } from '#gateway/contract/operator-api.ts';
import {
  commandGroup,
  countOption,
  deviceIdArgument,
  type GlobalOptions,
  oneOf,
  withExamples,
} from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatLocalTime, formatTime } from './format-time.ts';
import { nextStepFor } from './next-step.ts';
import { connectOperator } from './operator-client.ts';
import { colour, print, printFields, printJson, printTable, say } from './output.ts';

type ListOptions = GlobalOptions & { device?: DeviceId; outcome?: AttemptOutcome; limit: number };

const OUTCOME_COLOUR = {
  issued: 'green',
  'given-again': 'green',
  challenged: 'green',
  pending: 'yellow',
  refused: 'red',
  failed: 'red',
} as const satisfies Record<AttemptOutcome, string>;

/** `gatehouse attempt ...` */
export function attemptCommands(): Command {
  const attempt = commandGroup('attempt', 'tries to get a certificate: how far each came, and why no further');

  withExamples(
    attempt
      .command('show')
      .description('one try, step by step, with what to do next')
      .argument('<attempt>', 'its id, as the agent, the log and the audit have it'),
    'gatehouse attempt show a-0123456789abcdef',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const detail = await operator.call<AttemptDetail>('showAttempt', { params: [id] });
    if (json) printJson(detail);
    else printAttempt(detail, Date.now());
  });

  withExamples(
    attempt
      .command('list')
      .description('tries, newest first')
      .option('--device <id>', 'only of this device', deviceIdArgument)
      .option('--outcome <outcome>', `only ${ATTEMPT_OUTCOMES.join(', ')}`, oneOf(ATTEMPT_OUTCOMES, 'an outcome'))
      .option('--limit <count>', 'at most so many', countOption, 100),
    'gatehouse attempt list --outcome refused',
    'gatehouse attempt list --device press-07 --limit 5',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, device, outcome, limit } = command.optsWithGlobals<ListOptions>();
    const operator = await connectOperator(dataFolder(data));
    const attempts = await operator.list<AttemptDetail>('listAttempts', { deviceId: device, outcome }, limit);
    if (json) {
      printJson(attempts);
      return;
    }
    printTable(
      ['attempt', 'when', 'device', 'what', 'from', 'outcome', 'at step'],
      attempts.map((entry) => [
        entry.id,
        formatLocalTime(entry.at),
        entry.deviceId ?? '-',
        entry.kind,
        `${entry.address} ${entry.door}`,
        colour(OUTCOME_COLOUR[entry.outcome], entry.code ?? entry.outcome),
        stoppedAt(entry) ?? '-',
      ]),
      'no such attempts',
    );
  });

  return attempt;
}

/** The step that did not go through. */
function stoppedAt({ steps }: AttemptDetail): string | undefined {
  return steps.find(({ outcome }) => outcome !== 'ok')?.step;
}

function printAttempt(attempt: AttemptDetail, now: number): void {
  const { outcome, code } = attempt;
  printFields({
    attempt: attempt.id,
    when: formatTime(attempt.at, now),
    device: attempt.deviceId ?? undefined,
    what: `${attempt.kind} over ${attempt.door === 'est' ? 'EST' : 'MQTT'} from ${attempt.address}`,
    outcome: colour(OUTCOME_COLOUR[outcome], code === null || code === outcome ? outcome : `${outcome}: ${code}`),
    'stopped at': stoppedAt(attempt),
    reason: attempt.detail ?? undefined,
    took: milliseconds(attempt.milliseconds),
  });
  print('');
  printTable(
    ['step', 'outcome', 'after', 'detail'],
    attempt.steps.map((step) => [
      step.step,
      step.outcome === 'ok' ? 'ok' : colour(step.outcome === 'waiting' ? 'yellow' : 'red', step.outcome),
      milliseconds(step.after),
      step.detail ?? '-',
    ]),
    'no step is on record',
  );
  if (attempt.nextAction !== null) say(`device: ${attempt.nextAction}`);
  const advice = nextStepFor(code, attempt.deviceId ?? undefined);
  if (advice !== undefined) say(`next: ${advice}`);
}

function milliseconds(amount: number): string {
  return `${amount < 10 ? amount.toFixed(1) : Math.round(amount)} ms`;
}
