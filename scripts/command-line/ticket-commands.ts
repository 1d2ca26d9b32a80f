import type { Command } from 'commander';
import type { TicketSummary } from '#gateway/contract/operator-api.ts';
import { claimCommand } from './claim-command.ts';
import { commandGroup, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable, say } from './output.ts';

/** `gatehouse ticket ...` */
export function ticketCommands(): Command {
  const ticket = commandGroup('ticket', 'one-time rights to enroll');

  withExamples(
    ticket.command('list').description('tickets and their state; the secret itself is not kept'),
    'gatehouse ticket list',
  ).action(async (_: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const tickets = await operator.list<TicketSummary>('listTickets');
    if (json) {
      printJson(tickets);
      return;
    }
    const now = Date.now();
    printTable(
      ['ticket', 'device', 'state', 'made', 'good until'],
      tickets.map((entry) => [
        entry.id,
        entry.deviceId,
        entry.state,
        formatTime(entry.createdAt, now),
        formatTime(entry.expiresAt, now),
      ]),
      'no tickets; make one with: gatehouse device add ID',
    );
  });

  withExamples(
    ticket
      .command('revoke')
      .description('make a ticket worthless')
      .argument('<ticket>', 'id of the ticket, as `ticket list` shows it'),
    'gatehouse ticket revoke 7f3c0a11',
  ).action(async (id: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const revoked = await operator.call<TicketSummary>('revokeTicket', { params: [id], body: {} });
    if (json) printJson(revoked);
    else say(`ticket ${id} can no longer be used`);
  });

  ticket.addCommand(claimCommand());

  return ticket;
}
