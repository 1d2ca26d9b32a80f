import { CA_ROLLOVER_REQUEST as TAKES } from './ca-rollover-requests.ts';
import { type RouteDefinition, route } from './route-definition.ts';

/** One CA takes the place of another, step by step. */
export const CA_ROLLOVER_ROUTES: readonly RouteDefinition[] = [
  route('showCaRollover', {
    summary: 'How far the replacement of the CA is, and how many devices are ready for it',
    response: 'CaRollover',
    answer: (operations) => operations.showCaRollover(),
  }),
  route('listCaRolloverDevices', {
    summary: 'Devices that would be cut off if the old CA were retired now, by id',
    response: 'CaRolloverDevicePage',
    query: TAKES.pageQuery,
    answer: (operations, { query }) => operations.listCaRolloverDevices(query),
  }),
  route('announceCa', {
    summary: 'Tell every device of the prepared CA; it is let in and does not issue yet',
    response: 'CaRolloverStep',
    body: TAKES.announcement,
    answer: (operations, { body }, { actor }) => operations.announceCa({ ...body, actor }),
  }),
  route('discardCa', {
    summary: 'Give up the prepared CA: its keys are removed, and nobody has heard of it',
    response: 'CaRolloverStep',
    body: TAKES.discard,
    answer: (operations, { body }, { actor }) => operations.discardCa({ ...body, actor }),
  }),
  route('activateCa', {
    summary: 'Issue with the announced CA from now on',
    response: 'CaRolloverStep',
    answer: (operations, _, { actor }) => operations.activateCa({ actor }),
  }),
  route('taintCa', {
    summary: 'Have everything renewed that a replaced CA has issued',
    response: 'CaRolloverStep',
    body: TAKES.taint,
    answer: (operations, { body }, { actor }) => operations.taintCa({ ...body, actor }),
  }),
  route('retireCa', {
    summary: 'Let a replaced CA in no more, and have devices drop its root; refused as long as one needs it',
    response: 'CaRolloverStep',
    body: TAKES.retirement,
    answer: (operations, { body }, { actor }) => operations.retireCa({ ...body, actor }),
  }),
];
