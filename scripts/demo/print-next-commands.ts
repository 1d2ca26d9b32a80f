import { join } from 'node:path';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import type { DemoStage } from './demo-stage.ts';
import { MONITOR, PRESS } from './device-life.ts';
import { PUMP } from './tpm-life.ts';

/** What a reader can type in another terminal while the demo stays up, with the real paths and ports. */
export function printNextCommands(stage: DemoStage, { hasTpm }: { hasTpm: boolean }): void {
  const data = `--data ${stage.dataDir}`;
  const { status, mqtt, est, rootPem } = stage.ready;
  const identity = join(stage.stateDir(MONITOR), 'current');
  const steps = {
    'Look around': [
      `npx gatehouse device list ${data}`,
      `npx gatehouse device show ${PRESS} ${data}`,
      `npx gatehouse audit list --device ${PRESS} ${data}`,
      `npx gatehouse doctor ${data}`,
      `npx gatehouse-agent status --state ${stage.stateDir(MONITOR)}`,
    ],
    ...(hasTpm && {
      'Look at the device with the TPM': [
        `npx gatehouse device show ${PUMP} ${data}`,
        `npx gatehouse tpm root list ${data}`,
        `npx gatehouse-agent status --state ${stage.stateDir(PUMP)}`,
      ],
    }),
    'Let the press in again (copy the join URL it prints)': [
      `npx gatehouse device add ${PRESS} --new-ticket ${data}`,
      `npx gatehouse-agent enroll --replace JOIN-URL --state ${stage.stateDir(PRESS)}`,
      `npx gatehouse-agent run --state ${stage.stateDir(PRESS)}`,
    ],
    'Bring a device of your own, watched live': [`npm run technician -- my-device ${data}`],
    'Use other tools': [
      `curl --cacert ${rootPem} ${est.url.replace(/\/$/, '')}/.well-known/est/cacerts`,
      `curl -s ${new URL(STATUS_PATHS.metrics, status.url).href} | grep gatehouse_`,
      `openssl s_client -connect ${mqtt.host}:${mqtt.port} -CAfile ${rootPem} -cert ${identity}/certificate.pem -key ${identity}/key.pem </dev/null`,
    ],
  };
  const lines = Object.entries(steps).flatMap(([title, commands]) => [
    `\n${title}:`,
    ...commands.map((command) => `  ${command}`),
  ]);
  process.stdout.write(
    `\nEvery step was verified. All of it stays up; Ctrl-C ends it and cleans up.\n${lines.join('\n')}\n`,
  );
}
