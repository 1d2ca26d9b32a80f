import type { Command } from 'commander';
import {
  ENROLLMENT_REQUEST_STATES,
  type EnrollmentRequestState,
  type EnrollmentRequestSummary,
} from '#gateway/contract/operator-api.ts';
import { commandGroup, type GlobalOptions, oneOf, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, say } from './output.ts';
import { printEnrollmentRequest, printEnrollmentRequests } from './show-enrollment-request.ts';

const STATES = [...ENROLLMENT_REQUEST_STATES, 'all'] as const;

type ListOptions = GlobalOptions & { state: EnrollmentRequestState | 'all'; group?: string };
const REQUEST = 'id of the request, as `enrollment list` and the device show it';

/** `gatehouse enrollment ...` */
export function enrollmentCommands(): Command {
  const enrollment = commandGroup('enrollment', 'devices that wait for a person before their first certificate');

  withExamples(
    enrollment
      .command('list')
      .description('who waits; compare the key fingerprint with what the device shows')
      .option('--state <state>', `one of ${STATES.join(', ')}`, oneOf(STATES, 'a state'), 'waiting')
      .option('--group <group>', 'only those of this group'),
    'gatehouse enrollment list',
    "gatehouse enrollment list --group line-3 --json | jq -r '.[].id' | xargs -n1 gatehouse enrollment approve",
  ).action(async (_: unknown, command: Command) => {
    const { data, json, state, group } = command.optsWithGlobals<ListOptions>();
    const operator = await connectOperator(dataFolder(data));
    const query = { state: state === 'all' ? undefined : state, group };
    const requests = await operator.list<EnrollmentRequestSummary>('listEnrollmentRequests', query);
    if (json) {
      printJson(requests);
      return;
    }
    printEnrollmentRequests(requests, Date.now());
    if (requests.some((request) => request.state === 'waiting')) {
      say('Compare the fingerprint with the display of the device, then: gatehouse enrollment approve REQUEST');
    }
  });

  withExamples(
    enrollment.command('show').description('all that is known of a request').argument('<request>', REQUEST),
    'gatehouse enrollment show a-0123456789abcdef',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const request = await operator.call<EnrollmentRequestSummary>('showEnrollmentRequest', { params: [id] });
    if (json) {
      printJson(request);
      return;
    }
    printEnrollmentRequest(request, Date.now());
    if (request.state === 'waiting') {
      say(`Decide: gatehouse enrollment approve ${request.id}, or refuse ${request.id} --reason TEXT`);
    } else if (request.state === 'used') say(`What came of it: gatehouse device show ${request.deviceId}`);
  });

  withExamples(
    enrollment
      .command('approve')
      .description('let this device have a certificate for this very key')
      .argument('<request>', REQUEST)
      .option('--note <text>', 'for people'),
    'gatehouse enrollment approve a-0123456789abcdef --note "compared on site"',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json, note } = command.optsWithGlobals<GlobalOptions & { note?: string }>();
    const operator = await connectOperator(dataFolder(data));
    const approved = await operator.call<EnrollmentRequestSummary>('approveEnrollment', {
      params: [id],
      body: { note },
    });
    if (json) {
      printJson(approved);
      return;
    }
    printEnrollmentRequest(approved, Date.now());
    if (approved.state === 'approved')
      say('The device gets its certificate when it asks again, within a minute or so.');
    say(`See how it went: gatehouse device show ${approved.deviceId}`);
  });

  withExamples(
    enrollment
      .command('refuse')
      .description('refuse it')
      .argument('<request>', REQUEST)
      .requiredOption('--reason <text>', 'why; the device is told'),
    'gatehouse enrollment refuse a-0123456789abcdef --reason "not one of ours"',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason: string }>();
    const operator = await connectOperator(dataFolder(data));
    const refused = await operator.call<EnrollmentRequestSummary>('refuseEnrollment', {
      params: [id],
      body: { reason },
    });
    if (json) printJson(refused);
    else {
      printEnrollmentRequest(refused, Date.now());
      say('The device is told when it asks again. What it had before stays as it was.');
    }
  });

  return enrollment;
}
