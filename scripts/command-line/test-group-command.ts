import { Command } from 'commander';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import {
  ENROLLMENT_GROUNDS,
  type EnrollmentGrounds,
  type GroupTested,
  KEY_KINDS,
  type KeyKind,
  PROOF_LEVELS,
  type ProofLevel,
} from '#gateway/contract/operator-api.ts';
import { VERDICT_EXIT_CODE } from './command-error.ts';
import { deviceIdArgument, type GlobalOptions, oneOf, usage, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { nextStepFor } from './next-step.ts';
import { connectOperator } from './operator-client.ts';
import { colour, print, printJson, printTable, say } from './output.ts';

type TestOptions = GlobalOptions & {
  device?: DeviceId;
  keyKind?: KeyKind;
  proof?: ProofLevel;
  from?: string;
  at?: number;
  grounds?: EnrollmentGrounds;
  bound?: boolean;
  askWebhook?: boolean;
};

const momentOption = usage((text: string) => {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new RangeError('give a moment such as 2026-03-01T09:00:00Z');
  return at;
});

/** `gatehouse group test`: the verdict is also the exit code. */
export function testGroupCommand(): Command {
  return withExamples(
    new Command('test')
      .description('what a first enrollment would get and why; changes nothing. Exit code 0 issued, 3 waits, 5 refused')
      .argument('<name>', 'name of the group')
      .option('--device <id>', 'device that asks; left out: an unknown one', deviceIdArgument)
      .option('--key-kind <kind>', `its key: ${KEY_KINDS.join(', ')} (default: ec-p256)`, oneOf(KEY_KINDS, 'a key'))
      .option(
        '--proof <level>',
        `proof of the key: ${PROOF_LEVELS.join(', ')} (default: software)`,
        oneOf(PROOF_LEVELS, 'a proof level'),
      )
      .option('--from <address>', 'IP address it asks from (left out: networks are not looked at)')
      .option('--at <time>', 'when, such as 2026-03-01T09:00:00Z (default: now)', momentOption)
      .option(
        '--grounds <what>',
        `by what it asks: ${ENROLLMENT_GROUNDS.join(', ')} (default: a registered device by ticket)`,
        oneOf(ENROLLMENT_GROUNDS, 'a ground'),
      )
      .option('--bound', 'its CSR is bound to its TLS session')
      .option('--ask-webhook', 'really ask the webhook of the group, too'),
    'gatehouse group test line-3 --device press-07 --from 10.1.2.3 --at 2026-03-01T03:00:00Z',
    'gatehouse group test line-3 --grounds manufacturer --proof tpm-endorsed',
  ).action(async (name: string, _: unknown, command: Command) => {
    const { data, json, device, proof, from, ...rest } = command.optsWithGlobals<TestOptions>();
    const { keyKind, at, grounds, bound, askWebhook } = rest;
    const operator = await connectOperator(dataFolder(data));
    const body = { deviceId: device, keyKind, proofLevel: proof, address: from, at, grounds, bound, askWebhook };
    const tested = await operator.call<GroupTested>('testGroup', { params: [name], body });
    process.exitCode = exitCodeOf(tested);
    if (json) printJson(tested);
    else printVerdict(tested, device);
  });
}

function exitCodeOf({ outcome }: GroupTested): number {
  switch (outcome) {
    case 'issued':
      return 0;
    case 'waits for approval':
      return VERDICT_EXIT_CODE.WAITS;
    case 'refused':
      return VERDICT_EXIT_CODE.REFUSED;
  }
}

const COLOUR = { passed: 'green', refused: 'red', 'not checked': 'dim' } as const;

function printVerdict({ outcome, code, rules }: GroupTested, device: DeviceId | undefined): void {
  printTable(
    ['rule', 'outcome', 'detail'],
    rules.map((rule) => [rule.rule, colour(COLOUR[rule.outcome], rule.outcome), rule.detail]),
    'no rule was looked at',
  );
  print('');
  print(outcome === 'refused' ? `refused: ${code ?? '-'}` : outcome);
  const advice = nextStepFor(code, device);
  if (advice !== undefined) say(`next: ${advice}`);
}
