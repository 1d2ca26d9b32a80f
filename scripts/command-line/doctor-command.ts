import { Command } from 'commander';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import { asTyped } from './command-name.ts';
import { type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { checkCertificateFiles } from './doctor/check-certificate-files.ts';
import { checkDataFolder } from './doctor/check-data-folder.ts';
import { checkGateway } from './doctor/check-gateway.ts';
import { checkHost } from './doctor/check-host.ts';
import { colour, print, printJson } from './output.ts';
import { packageVersion } from './package-version.ts';

/** `gatehouse doctor`: each line is ok, or says what is wrong and what to do. Exit code 1 when one is wrong. */
export function doctorCommand(): Command {
  return withExamples(
    new Command('doctor').description('look at folder, authority, gateway, doors, clock and disk; say what is wrong'),
    'gatehouse doctor --data /var/lib/gatehouse',
  ).action(async (_: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const dataDir = dataFolder(data);
    const now = Date.now();
    const folder = await checkDataFolder(dataDir);
    const host = await checkHost(dataDir, packageVersion());
    const hasFolder = folder[0]?.ok === true;
    const checks = [
      ...folder,
      ...(hasFolder ? await checkCertificateFiles(dataDir, now) : []),
      ...(hasFolder ? await checkGateway(dataDir, now) : []),
      ...host,
    ];
    const ok = checks.every((check) => check.ok);
    if (json) printJson({ ok, checks });
    else for (const check of checks) printCheck(check);
    process.exitCode = ok ? 0 : 1;
  });
}

function printCheck({ name, ok, detail, advice }: HealthCheck): void {
  print(`${ok ? colour('green', 'ok   ') : colour('red', 'WRONG')}  ${name}: ${detail}`);
  if (!ok && advice) print(`       next: ${asTyped(advice)}`);
}
