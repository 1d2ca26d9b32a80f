import type { Command } from 'commander';
import type { RegistrarAdded, RegistrarSummary } from '#gateway/contract/operator-api.ts';
import { collect, commandGroup, durationOption, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { fillNewFile } from './new-file.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable, say } from './output.ts';
import { readCsrFile } from './read-csr-file.ts';

type AddOptions = GlobalOptions & { group: string[]; csr: string; out: string; lifetime?: number };

/** `gatehouse registrar ...` */
export function registrarCommands(): Command {
  const registrar = commandGroup(
    'registrar',
    'programs that enroll devices of some groups on their behalf (RFC 7030 3.7)',
  );

  withExamples(
    registrar
      .command('add')
      .description('certify a registrar; its key stays where it was made')
      .argument('<name>', 'name of the registrar')
      .requiredOption('--group <group>', 'group whose devices it may enroll; may be given again', collect)
      .requiredOption('--csr <file>', 'its certificate request, PEM or DER')
      .requiredOption('--out <file>', 'where to write its certificate and the issuer (PEM)')
      .option('--lifetime <duration>', 'how long the certificate lives, such as 90d', durationOption),
    'gatehouse registrar add robot --group line-3 --group line-4 --csr robot.csr --out robot.pem',
    'openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout robot.key -subj /CN=robot -out robot.csr',
  ).action(async (name: string, _: unknown, command: Command) => {
    const { data, json, group: groups, csr, out, lifetime } = command.optsWithGlobals<AddOptions>();
    const request = await readCsrFile(csr);
    const operator = await connectOperator(dataFolder(data));
    const added = await fillNewFile(out, 0o644, async () => {
      const body = { name, groups, csr: request.toString('base64'), lifetimeSeconds: lifetime };
      const result = await operator.call<RegistrarAdded>('addRegistrar', { body });
      const certificates = [result.certificate, ...result.chain].map((pem) => pem.trim());
      return { result, text: `${certificates.join('\n')}\n` };
    });
    if (json) {
      printJson({ file: out, ...added });
      return;
    }
    show([added]);
    say(`wrote ${out}; with it and its key: POST /.well-known/est/GROUP/simpleenroll, the CSR naming the device (CN)`);
  });

  withExamples(registrar.command('list').description('all registrars'), 'gatehouse registrar list').action(
    async (_: unknown, command: Command) => {
      const { data, json } = command.optsWithGlobals<GlobalOptions>();
      const operator = await connectOperator(dataFolder(data));
      const registrars = await operator.list<RegistrarSummary>('listRegistrars');
      if (json) printJson(registrars);
      else show(registrars);
    },
  );

  withExamples(
    registrar.command('remove').description('revoke its certificate').argument('<name>', 'name of the registrar'),
    'gatehouse registrar remove robot',
  ).action(async (name: string, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const removed = await operator.call<RegistrarSummary>('removeRegistrar', { params: [name], body: {} });
    if (json) printJson(removed);
    else say(`${removed.name} may enroll nobody any more; certificate ${removed.serial} is revoked`);
  });

  return registrar;
}

function show(registrars: readonly RegistrarSummary[]): void {
  const now = Date.now();
  printTable(
    ['registrar', 'groups', 'certificate', 'until', 'added'],
    registrars.map((entry) => [
      entry.name,
      entry.groups.join(', '),
      entry.serial,
      formatTime(entry.notAfter, now),
      formatTime(entry.createdAt, now),
    ]),
    'no registrars; the first: gatehouse registrar add NAME --group GROUP --csr FILE --out FILE',
  );
}
