import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type {
  AttemptDetail,
  EnrollmentRequestSummary,
  GroupTested,
  TicketClaimed,
} from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { DEFAULT_POLICY } from '#gateway/domain/group.ts';
import type { ImportEntry } from '#gateway/operator/operator-operations.ts';
import { createCsr, createTestAuthority, type TestAuthority } from '#test/fixtures/doors/certificates.ts';
import { type OperatorGateway, openOperatorGateway } from '#test/fixtures/doors/operator-gateway.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';

const { npm_command: _, ...env } = process.env;
const HASH = 'a1b2c3d4e5f60718'.padEnd(64, '9');
const actor = 'local:tester';

const waiting: EnrollmentRequestSummary = {
  id: 'a-0123456789abcdef',
  deviceId: 'pump-17',
  group: 'line-3',
  state: 'waiting',
  reason: 'every first enrollment of this group waits for a person',
  grounds: `manufacturer:${'cd'.repeat(32)}`,
  door: 'mqtt',
  address: '10.1.2.3',
  keyKind: 'ec-p256',
  proofLevel: 'tpm',
  spkiSha256: HASH,
  hardwareSerial: 'SN 4711',
  known: 'unknown',
  askedAt: Date.now() - 240_500,
  lastAskedAt: Date.now() - 10_000,
  timesAsked: 3,
  expiresAt: Date.now() + 6.5 * 24 * 3600 * 1000,
  decidedAt: null,
  decidedBy: null,
  note: null,
};

const refusedAttempt: AttemptDetail = {
  id: 'a-fedcba9876543210',
  at: Date.now() - 5000,
  kind: 'enroll',
  door: 'est',
  address: '10.1.2.3',
  deviceId: 'pump-17',
  outcome: 'refused',
  code: 'NETWORK_NOT_ALLOWED',
  detail: 'the group takes requests from 10.2.0.0/16 only',
  nextAction: 'Enroll from a network the group allows, or ask the operator.',
  milliseconds: 12.3,
  steps: [
    { step: 'credentials', outcome: 'ok', detail: 'ticket 7f3c0a11', after: 1.2 },
    { step: 'policy', outcome: 'refused', detail: '10.1.2.3 is in none of the networks', after: 12.1 },
  ],
};

describe('the gatehouse command, about enrollments,', () => {
  let folder: string;
  let dataDir: string;
  let authority: TestAuthority;
  let gateway: OperatorGateway;
  let tested: GroupTested;
  let claimed: TicketClaimed;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-cli-'));
    dataDir = join(folder, 'data');
    authority = await createTestAuthority();
    const { pem } = await authority.issueDevice('pump-17');
    const chain = [authority.intermediate.pem, authority.root.pem];
    const door = { host: 'gate.example', port: 8443 };
    const notAfter = Date.now() + 900_000;
    const shared = { serial: '4f21', notAfter, certificate: pem, chain };
    claimed = {
      ...shared,
      deviceId: 'pump-17',
      ticketId: '7f3c0a11',
      root: authority.root.pem,
      trustDomain: 'plant.example',
      est: door,
      mqtt: { ...door, port: 8883 },
    };
    gateway = await openOperatorGateway({
      listEnrollmentRequests: { items: [waiting], nextCursor: null },
      showEnrollmentRequest: waiting,
      approveEnrollment: ({ note }: { note?: string }) => ({
        ...waiting,
        state: 'approved',
        decidedAt: Date.now(),
        decidedBy: actor,
        note: note ?? null,
      }),
      refuseEnrollment: ({ reason }: { reason: string }) => ({
        ...waiting,
        state: 'refused',
        decidedAt: Date.now(),
        decidedBy: actor,
        note: reason,
      }),
      listAttempts: { items: [refusedAttempt], nextCursor: null },
      showAttempt: refusedAttempt,
      claimTicket: () => claimed,
      addRegistrar: ({ name, groups }: { name: string; groups: string[] }) => ({
        ...shared,
        name,
        groups,
        createdAt: Date.now(),
      }),
      removeRegistrar: { name: 'robot', groups: ['line-3'], serial: '4f21', notAfter, createdAt: 1 },
      addManufacturerCa: ({ group, note }: { group: string; note?: string }) => ({
        group,
        sha256: HASH,
        subject: 'CN=ACME Device CA',
        notAfter,
        note: note ?? null,
        addedAt: Date.now(),
      }),
      listManufacturerCas: [],
      removeManufacturerCa: { group: 'line-3', sha256: HASH, subject: 'CN=ACME Device CA' },
      importDevices: ({ entries }: { entries: ImportEntry[] }) => ({
        items: entries.map(({ deviceId }) =>
          deviceId === 'other-1'
            ? { deviceId, outcome: 'refused', detail: 'it is in the group "line-4"' }
            : { deviceId, outcome: 'added', detail: null },
        ),
      }),
      testGroup: () => tested,
      setGroup: ({ name, change }: { name: string; change: object }) => ({
        name,
        version: 2,
        devices: 0,
        policy: { ...DEFAULT_POLICY, ...change },
      }),
    });
    await mkdir(join(dataDir, DATA_FOLDER.run), { recursive: true });
    const runFile = { pid: process.pid, operatorSocket: gateway.socketPath };
    await writeFile(join(dataDir, DATA_FOLDER.runFile), JSON.stringify(runFile));
  });
  afterAll(async () => {
    await gateway.close();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    gateway.calls.length = 0;
    delete gateway.failWith.error;
  });

  const gatehouse = (...args: string[]) =>
    run(process.execPath, [PROGRAMS.gatehouse, '--data', dataDir, ...args], { env, cwd: folder });
  const fileOf = async (name: string, content: string | Buffer) => {
    await writeFile(join(folder, name), content);
    return name;
  };

  describe('shows', () => {
    test('who waits, in one line with what is needed to decide', async () => {
      const { code, stdout, stderr } = await gatehouse('enrollment', 'list', '--group', 'line-3');
      expect(gateway.calls).toEqual([
        { name: 'listEnrollmentRequests', input: { limit: 200, state: 'waiting', group: 'line-3' } },
      ]);
      const [, row = ''] = stdout.split('\n');
      expect(row.split(/ {2,}/)).toEqual([
        'a-0123456789abcdef',
        'pump-17',
        'line-3',
        'waiting',
        'a1b2 c3d4 e5f6 0718',
        'ec-p256',
        'tpm',
        'unknown',
        'manufacturer',
        '10.1.2.3 mqtt',
        '4 min ago',
      ]);
      expect([code, stderr]).toEqual([
        0,
        'Compare the fingerprint with the display of the device, then: gatehouse enrollment approve REQUEST\n',
      ]);
    });

    test('requests of every state when asked for all', async () => {
      await gatehouse('enrollment', 'list', '--state', 'all', '--json');
      expect(gateway.calls).toEqual([{ name: 'listEnrollmentRequests', input: { limit: 200 } }]);
    });

    test('one request with the whole hash of its key', async () => {
      const { stdout, stderr } = await gatehouse('enrollment', 'show', waiting.id);
      expect(stdout).toMatch(/^known device +no, and would be registered$/m);
      expect(stdout).toMatch(/^from +10\.1\.2\.3 over MQTT$/m);
      expect(stdout).toMatch(/^key fingerprint +a1b2 c3d4 e5f6 0718$/m);
      expect(stdout).toMatch(new RegExp(`^SHA-256 of the key +${HASH}$`, 'm'));
      expect(stdout).toMatch(/^asked +\S+ \(4 min ago\), 3 times, last \S+ \(1\d s ago\)$/m);
      expect(stderr).toContain(`gatehouse enrollment approve ${waiting.id}`);
    });

    test('an attempt step by step, where it stopped, why, and what to do', async () => {
      const { code, stdout, stderr } = await gatehouse('attempt', 'show', refusedAttempt.id);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^outcome +refused: NETWORK_NOT_ALLOWED$/m);
      expect(stdout).toMatch(/^stopped at +policy$/m);
      expect(stdout).toMatch(/^credentials +ok +1\.2 ms +ticket 7f3c0a11$/m);
      expect(stdout).toMatch(/^policy +refused +12 ms +10\.1\.2\.3 is in none of the networks$/m);
      expect(stderr).toMatch(/^device: Enroll from a network/m);
      expect(stderr).toMatch(/^next: see its networks: gatehouse group show GROUP/m);
    });

    test('attempts of a device, at most so many', async () => {
      const { stdout } = await gatehouse(
        'attempt',
        'list',
        '--device',
        'pump-17',
        '--outcome',
        'refused',
        '--limit',
        '5',
      );
      expect(gateway.calls).toEqual([
        { name: 'listAttempts', input: { limit: 5, deviceId: 'pump-17', outcome: 'refused' } },
      ]);
      expect(stdout).toMatch(/^a-fedcba9876543210 .* pump-17 +enroll +10\.1\.2\.3 est +NETWORK_NOT_ALLOWED +policy$/m);
    });

    test('all of it as the gateway gave it with --json', async () => {
      for (const [args, value] of [
        [['enrollment', 'list'], [waiting]],
        [['enrollment', 'show', waiting.id], waiting],
        [['attempt', 'show', refusedAttempt.id], refusedAttempt],
        [['attempt', 'list'], [refusedAttempt]],
      ] as const) {
        const { stdout, stderr } = await gatehouse(...args, '--json');
        expect(JSON.parse(stdout)).toEqual(value);
        expect(stderr).toBe('');
      }
    });
  });

  describe('decides', () => {
    test('for a request and says what was approved and what comes next', async () => {
      const { code, stdout, stderr } = await gatehouse('enrollment', 'approve', waiting.id, '--note', 'compared');
      expect(gateway.calls).toEqual([
        { name: 'approveEnrollment', input: { id: waiting.id, note: 'compared', actor } },
      ]);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^key fingerprint +a1b2 c3d4 e5f6 0718$/m);
      expect(stdout).toMatch(/^decided +\S+ .* by local:tester$/m);
      expect(stderr).toContain('gets its certificate when it asks again');
      expect(stderr).toContain('gatehouse device show pump-17');
    });

    test('against one with a reason, and not without', async () => {
      expect((await gatehouse('enrollment', 'refuse', waiting.id)).code).toBe(2);
      expect(gateway.calls).toEqual([]);
      const { code, stdout } = await gatehouse('enrollment', 'refuse', waiting.id, '--reason', 'not one of ours');
      expect(code).toBe(0);
      expect(gateway.calls).toEqual([
        { name: 'refuseEnrollment', input: { id: waiting.id, reason: 'not one of ours', actor } },
      ]);
      expect(stdout).toMatch(/^note +not one of ours$/m);
    });
  });

  describe('claims a ticket', () => {
    test('with a key that is made here, kept in a file of mode 0600 and never sent', async () => {
      const { code, stdout, stderr } = await gatehouse(
        'ticket',
        'claim',
        'pump-17',
        '--out',
        'new.claim',
        '--minutes',
        '15',
      );
      expect([code, stderr.split('\n').at(-2)]).toEqual([0, '  gatehouse-agent enroll new.claim --via mqtt']);
      expect(stdout).toMatch(/^file +new\.claim$/m);
      expect(gateway.calls.map(({ name }) => name)).toEqual(['claimTicket']);
      const [{ csr, ...rest } = { csr: Buffer.of() }] = gateway.calls.map(({ input }) => input as { csr: Buffer });
      expect(rest).toEqual({ deviceId: 'pump-17', seconds: 900, actor });
      const path = join(folder, 'new.claim');
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      const file = JSON.parse(await readFile(path, 'utf8')) as ClaimFile;
      expect(file).toMatchObject({
        kind: 'gatehouse-claim',
        version: 1,
        deviceId: 'pump-17',
        trustDomain: 'plant.example',
        est: { host: 'gate.example', port: 8443 },
        mqtt: { host: 'gate.example', port: 8883 },
        root: authority.root.pem,
        expiresAt: claimed.notAfter,
      });
      const request = parseCsr(csr);
      expect(verifyCsrSignature(request)).toBe(true);
      const key = createPrivateKey(file.privateKey);
      expect(key.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
      const ours = createPublicKey(key).export({ type: 'spki', format: 'der' });
      expect(csr.includes(ours)).toBe(true);
    });

    test('into certificates as a TLS client sends them: the issuer, not the root', async () => {
      await gatehouse('ticket', 'claim', 'pump-17', '--out', 'chain.claim');
      const { certificates } = JSON.parse(await readFile(join(folder, 'chain.claim'), 'utf8')) as ClaimFile;
      const pems = certificates.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? [];
      expect(pems.map((pem) => new X509Certificate(pem).subject)).toEqual([
        new X509Certificate(claimed.certificate).subject,
        new X509Certificate(authority.intermediate.pem).subject,
      ]);
      expect(certificates).toBe(pems.join(''));
    });

    test('never over a file, and asks for nothing then', async () => {
      await fileOf('kept.claim', 'mine');
      const { code, stderr } = await gatehouse('ticket', 'claim', 'pump-17', '--out', 'kept.claim');
      expect([code, gateway.calls]).toEqual([1, []]);
      expect(stderr).toMatch(/^gatehouse: kept\.claim exists already\nnext: name another file/);
      expect(await readFile(join(folder, 'kept.claim'), 'utf8')).toBe('mine');
    });

    test('and leaves no file behind when the gateway refuses', async () => {
      gateway.failWith.error = new GatewayError('STATE_CONFLICT', 'pump-17 has no open ticket');
      const { code, stderr } = await gatehouse('ticket', 'claim', 'pump-17', '--out', 'none.claim');
      expect(code).toBe(1);
      expect(stderr).toContain('pump-17 has no open ticket');
      expect(await readdir(folder)).not.toContain('none.claim');
    });

    test('for a key that is elsewhere, as PEM on stdout or in a file', async () => {
      const csr = await createCsr('pump-17');
      const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${csr.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
      for (const file of [await fileOf('der.csr', csr), await fileOf('pem.csr', pem)]) {
        const { code, stdout } = await gatehouse('ticket', 'claim', 'pump-17', '--csr', file);
        expect(code).toBe(0);
        expect(stdout.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
        expect(stdout).not.toContain('PRIVATE KEY');
        expect(gateway.calls.at(-1)?.input).toMatchObject({ csr, seconds: 3600 });
      }
      await gatehouse('ticket', 'claim', 'pump-17', '--csr', 'der.csr', '--out', 'out.pem');
      expect(await readFile(join(folder, 'out.pem'), 'utf8')).toMatch(/^-----BEGIN CERTIFICATE-----/);
    });

    test.each([
      [['ticket', 'claim', 'pump-17'], /name the file to make with --out/],
      [['ticket', 'claim', 'pump-17', '--out', 'x', '--minutes', '61'], /one hour at most/],
      [['ticket', 'claim', 'pump-17', '--out', 'x', '--hours', '2'], /one hour at most/],
      [['ticket', 'claim', 'pump-17', '--out', 'x', '--hours', '1', '--minutes', '5'], /--minutes or --hours/],
    ])('and not like this: %j', async (args, message) => {
      const { code, stderr } = await gatehouse(...args);
      expect(stderr).toMatch(message);
      expect([code, gateway.calls]).toEqual([2, []]);
    });
  });

  describe('imports devices', () => {
    test('with one outcome a line, and exit code 5 when one was refused', async () => {
      const csv = await fileOf('one.csv', 'deviceId,hardwareSerial,group\npump-1,SN-1,\n\nother-1,SN-2,line-4\n');
      const { code, stdout, stderr } = await gatehouse('device', 'import', csv, '--group', 'line-3');
      expect(gateway.calls).toEqual([
        {
          name: 'importDevices',
          input: {
            entries: [
              { deviceId: 'pump-1', group: 'line-3', hardwareSerial: 'SN-1' },
              { deviceId: 'other-1', group: 'line-4', hardwareSerial: 'SN-2' },
            ],
            actor,
          },
        },
      ]);
      expect(code).toBe(5);
      expect(stdout).toMatch(/^added +1\nunchanged +0\nrefused +1\n/);
      expect(stdout).toMatch(/^4 +other-1 +it is in the group "line-4"$/m);
      expect(stderr).toContain('import the file again');
    });

    test('in batches that the gateway takes', async () => {
      const ids = Array.from({ length: 2500 }, (_, index) => `pump-${index}`);
      const csv = await fileOf('many.csv', `deviceId\n${ids.join('\n')}\n`);
      const { code, stdout } = await gatehouse('device', 'import', csv, '--json');
      expect(code).toBe(0);
      expect(gateway.calls.map(({ input }) => (input as { entries: unknown[] }).entries.length)).toEqual([
        1000, 1000, 500,
      ]);
      const result = JSON.parse(stdout) as { added: number; items: unknown[] };
      expect(result).toMatchObject({ added: 2500, unchanged: 0, refused: 0 });
      expect(result.items.at(-1)).toEqual({ deviceId: 'pump-2499', outcome: 'added', detail: null, line: 2501 });
    });

    test('from a pipe', async () => {
      const args = [PROGRAMS.gatehouse, '--data', dataDir, 'device', 'import', '-'];
      const { code } = await run(process.execPath, args, { env, cwd: folder, input: 'deviceId\npump-1\n' });
      expect([code, gateway.calls.map(({ input }) => input)]).toEqual([
        0,
        [{ entries: [{ deviceId: 'pump-1' }], actor }],
      ]);
    });

    test('or only says what it would send', async () => {
      const csv = await fileOf('dry.csv', 'deviceId;owner\npump-1;Jean\n');
      const { code, stdout, stderr } = await gatehouse('device', 'import', csv, '--dry-run');
      expect([code, gateway.calls, stderr]).toEqual([0, [], '1 device(s) would be sent\n']);
      expect(stdout).toMatch(/^2 +pump-1 +default +- +Jean +-$/m);
    });

    test('and sends nothing of a file with a wrong line', async () => {
      const csv = await fileOf('wrong.csv', 'deviceId\npump-1\npump 2\n');
      const { code, stderr } = await gatehouse('device', 'import', csv);
      expect([code, gateway.calls]).toEqual([1, []]);
      expect(stderr).toMatch(
        /^gatehouse: wrong\.csv:3:1: deviceId: "pump 2" is not a device id.*\nnext: nothing was sent\n$/,
      );
    });
  });

  describe('trusts', () => {
    test('every CA certificate of a file for one group, and no longer', async () => {
      const file = await fileOf('makers.pem', authority.root.pem + authority.intermediate.pem);
      const { code, stdout } = await gatehouse('manufacturer', 'add', '--group', 'line-3', file, '--note', 'pumps');
      expect(code).toBe(0);
      expect(gateway.calls.map(({ input }) => input)).toEqual(
        [authority.root, authority.intermediate].map(({ der }) => ({ group: 'line-3', der, note: 'pumps', actor })),
      );
      expect(stdout.match(/CN=ACME Device CA/g)).toHaveLength(2);
      const removed = await gatehouse('manufacturer', 'remove', HASH.toUpperCase(), '--group', 'line-3');
      expect([removed.code, removed.stderr]).toEqual([
        0,
        'CN=ACME Device CA is not trusted in the group line-3 any more\n',
      ]);
      expect((await gatehouse('manufacturer', 'list')).stderr).toMatch(/^no maker is trusted; the first: /);
    });

    test('a registrar with its groups, its certificate written beside its key', async () => {
      await fileOf('robot.csr', await createCsr('robot'));
      const args = ['robot', '--group', 'line-3', '--group', 'line-4', '--csr', 'robot.csr', '--out', 'robot.pem'];
      const { code, stdout } = await gatehouse('registrar', 'add', ...args, '--lifetime', '90d');
      expect(code).toBe(0);
      expect(gateway.calls[0]?.input).toMatchObject({
        name: 'robot',
        groups: ['line-3', 'line-4'],
        lifetimeSeconds: 90 * 86_400,
      });
      expect(stdout).toMatch(/^robot +line-3, line-4 +4f21 /m);
      expect(await readFile(join(folder, 'robot.pem'), 'utf8')).toContain(authority.intermediate.pem.trim());
      const again = await gatehouse('registrar', 'add', ...args);
      expect([again.code, gateway.calls.length]).toEqual([1, 1]);
      const removed = await gatehouse('registrar', 'remove', 'robot');
      expect(removed.stderr).toBe('robot may enroll nobody any more; certificate 4f21 is revoked\n');
    });

    test('nobody without a group', async () => {
      const { code, stderr } = await gatehouse('manufacturer', 'add', 'makers.pem');
      expect([code, stderr]).toEqual([2, expect.stringContaining("required option '--group <group>'")]);
    });
  });

  describe('tells of a group', () => {
    test.each<[GroupTested, number, RegExp]>([
      [{ outcome: 'issued', code: null, rules: [] }, 0, /^issued$/m],
      [{ outcome: 'waits for approval', code: 'APPROVAL_PENDING', rules: [] }, 3, /^waits for approval$/m],
      [{ outcome: 'refused', code: 'OUTSIDE_HOURS', rules: [] }, 5, /^refused: OUTSIDE_HOURS$/m],
    ])('what a request would get, also as exit code: %o', async (verdict, exitCode, line) => {
      tested = { ...verdict, rules: [{ rule: 'hours', outcome: 'passed', detail: 'any time' }] };
      const asked = ['--device', 'pump-17', '--from', '10.1.2.3', '--at', '2026-03-01T03:00:00Z', '--proof', 'tpm'];
      const { code, stdout } = await gatehouse(
        'group',
        'test',
        'line-3',
        ...asked,
        '--grounds',
        'claim',
        '--ask-webhook',
      );
      expect(gateway.calls[0]?.input).toEqual({
        name: 'line-3',
        deviceId: 'pump-17',
        proofLevel: 'tpm',
        address: '10.1.2.3',
        at: Date.UTC(2026, 2, 1, 3),
        grounds: 'claim',
        askWebhook: true,
      });
      expect(code).toBe(exitCode);
      expect(stdout).toMatch(line);
      expect(stdout).toMatch(/^hours +passed +any time$/m);
      const asJson = await gatehouse('group', 'test', 'line-3', '--json');
      expect([asJson.code, JSON.parse(asJson.stdout)]).toEqual([exitCode, tested]);
    });

    test('its rules in words after a change', async () => {
      const rules = ['--approval', 'manual', '--binding', 'required', '--require-owner', '--max-devices', '50'];
      const places = ['--network', '10.1.0.0/16', '--network', 'fd00::/8', '--hours', 'Mon-Fri 06:00-22:00'];
      const others = [
        '--max-per-hour',
        '10',
        '--device-id-pattern',
        'pump-*',
        '--webhook',
        'https://erp/x',
        '--server-keygen',
      ];
      const { code, stdout } = await gatehouse('group', 'set', 'line-3', ...rules, ...places, ...others);
      expect(code).toBe(0);
      expect(gateway.calls[0]?.input).toEqual({
        name: 'line-3',
        change: {
          approval: 'manual',
          binding: 'required',
          requireOwner: true,
          maxDevices: 50,
          networks: ['10.1.0.0/16', 'fd00::/8'],
          hours: ['Mon-Fri 06:00-22:00'],
          maxPerHour: 10,
          deviceIdPattern: 'pump-*',
          webhook: 'https://erp/x',
          serverKeygen: true,
        },
        actor,
      });
      expect(stdout).toMatch(/^first enrollments +a person decides each/m);
      expect(stdout).toMatch(/^from networks +10\.1\.0\.0\/16, fd00::\/8$/m);
      expect(stdout).toMatch(/^CSR bound to its TLS session +required$/m);
    });

    test('that its rules are gone when they are set to none', async () => {
      const none = ['--network', '--hours', '--max-devices', '--max-per-hour', '--device-id-pattern', '--webhook'];
      const args = [...none.flatMap((option) => [option, 'none']), '--no-require-owner', '--no-server-keygen'];
      const { stdout } = await gatehouse('group', 'set', 'line-3', ...args);
      expect(gateway.calls[0]?.input).toEqual({
        name: 'line-3',
        change: {
          networks: [],
          hours: [],
          maxDevices: null,
          maxPerHour: null,
          deviceIdPattern: null,
          webhook: null,
          requireOwner: false,
          serverKeygen: false,
        },
        actor,
      });
      expect(stdout).toMatch(/^from networks +any$/m);
      expect(stdout).toMatch(/^most devices +no limit$/m);
    });
  });

  test('lets nothing of a device draw lines or turn the writing round', async () => {
    const hostile = { ...waiting, hardwareSerial: 'SN\nstate  approved\u202E', reason: '\u001b[2J' };
    gateway.deps.operations.showEnrollmentRequest = () => Promise.resolve(hostile);
    const { stdout } = await gatehouse('enrollment', 'show', waiting.id);
    expect(stdout).toMatch(/^hardware serial +SN state {2}approved\uFFFD$/m);
    expect(stdout).not.toMatch(/^state +approved/m);
    expect(stdout).not.toContain('\u001b[2J');
  });
});
