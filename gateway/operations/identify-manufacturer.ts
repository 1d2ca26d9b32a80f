import { hash } from 'node:crypto';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { type DerElement, readDer } from '#ca/pkix/der.ts';
import { readText } from '#ca/pkix/der-values.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import { type Device, isBarred } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { ManufacturerCa } from '#gateway/domain/manufacturer-ca.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { looksAlike } from './find-look-alike.ts';
import { requireOwnLabel, unknownLabel } from './require-label.ts';

type Read = Pick<Tables, 'manufacturerCas' | 'devices' | 'groups'>;

export type RecognisedDevice = {
  deviceId: DeviceId;
  /** undefined: not registered. */
  device: Device | undefined;
  /** As the maker wrote it (2.5.4.5). */
  serialNumber: string;
  notAfter: number;
  spkiSha256: string;
};

export type Manufactured = RecognisedDevice & {
  group: Group;
  ca: ManufacturerCa;
  /** SHA-256 of every CA by which the group trusts it: a root and an intermediate below it may both be pinned. */
  makers: string[];
};

type Shown = { der: Buffer; chain: readonly Buffer[] };

/** What was said beside it. label: the group asked for. deviceId: decides between devices with the same serial number. */
type Wish = { label?: string | undefined; deviceId?: string | undefined };

/**
 * Which device a certificate of its maker (IDevID, IEEE 802.1AR) stands for, and in which group: by the subject's
 * serialNumber (RFC 8995 2.3.1), under a CA that the group trusts. notAfter 9999-12-31 is a date like any other.
 * TLS has proved possession of the key, and nothing else: rights and path are judged here.
 * @param now milliseconds UTC
 * @throws GatewayError MANUFACTURER_UNTRUSTED, MANUFACTURER_CERTIFICATE_UNFIT, CERTIFICATE_EXPIRED,
 * CERTIFICATE_NOT_YET_VALID, LABEL_UNKNOWN, LABEL_OF_ANOTHER_GROUP, GROUP_AMBIGUOUS, DEVICE_NOT_ALLOWED,
 * DEVICE_LOOKS_ALIKE
 */
export async function identifyManufacturer(read: Read, shown: Shown & Wish, now: number): Promise<Manufactured> {
  const leaf = parse(shown.der);
  const trusted = await requireTrust(read, leaf, shown.chain, now);
  const serialNumber = readSerialNumber(leaf);
  const device = await findDevice(read, serialNumber, trusted, shown);
  const groupName = device?.group ?? (await chooseGroup(read, trusted, shown.label));
  const group = await read.groups.find(groupName);
  const vouching = trusted.get(groupName) ?? [];
  const [ca] = vouching;
  if (group === undefined || ca === undefined) throw untrusted();
  const makers = vouching.map(({ sha256 }) => sha256);
  return { ...(await describeDevice(read, leaf, { serialNumber, device })), group, ca, makers };
}

/** The device alone, before it has said which group it asks in. @throws GatewayError as identifyManufacturer */
export async function recogniseDevice(
  read: Read,
  shown: Shown & Pick<Wish, 'deviceId'>,
  now: number,
): Promise<RecognisedDevice> {
  const leaf = parse(shown.der);
  const trusted = await requireTrust(read, leaf, shown.chain, now);
  const serialNumber = readSerialNumber(leaf);
  const device = await findDevice(read, serialNumber, trusted, shown);
  return describeDevice(read, leaf, { serialNumber, device });
}

function requireTrust(read: Read, leaf: Certificate, chain: readonly Buffer[], now: number): Promise<Trusted> {
  requireEndEntity(leaf);
  return findTrust(read, leaf, chain, now);
}

async function describeDevice(
  read: Read,
  { notAfter, publicKey }: Certificate,
  { serialNumber, device }: { serialNumber: string; device: Device | undefined },
): Promise<RecognisedDevice> {
  const deviceId = device?.deviceId ?? (await newDeviceId(read, serialNumber));
  return { deviceId, device, serialNumber, notAfter, spkiSha256: spkiSha256(publicKey) };
}

function parse(der: Buffer): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw unfit('it cannot be read', { cause });
  }
}

function unfit(why: string, options?: ErrorOptions): GatewayError {
  return new GatewayError('MANUFACTURER_CERTIFICATE_UNFIT', `this maker's certificate does not do: ${why}`, options);
}

function untrusted(): GatewayError {
  return new GatewayError(
    'MANUFACTURER_UNTRUSTED',
    'this certificate was not issued here, nor by a maker trusted here',
  );
}

/** Node's own check takes a CA for a client, and a key that may not sign. */
function requireEndEntity({ isCa, keyUsage, extendedKeyUsage }: Certificate): void {
  if (isCa || keyUsage?.has('keyCertSign') === true) throw unfit('it is the certificate of a CA');
  if (keyUsage !== undefined && !keyUsage.has('digitalSignature')) throw unfit('its key is not for signatures');
  if (extendedKeyUsage !== undefined && !extendedKeyUsage.includes(OID.clientAuth))
    throw unfit('it is not for TLS clients');
}

/** Leaf, three intermediates, the CA that is trusted. */
const MAX_PATH = 5;
/** Bounds the look-ups and the signatures that one hostile chain can cost. */
const MAX_CHAIN = 4;
const MAX_CAS_TRIED = 8;

/** The groups that trust the maker of this certificate, each with the CAs by which it does. */
type Trusted = ReadonlyMap<string, readonly ManufacturerCa[]>;

async function findTrust(read: Read, leaf: Certificate, chain: readonly Buffer[], now: number): Promise<Trusted> {
  const intermediates = chain.slice(0, MAX_CHAIN).flatMap(parseOrNothing);
  const names = new Map([leaf, ...intermediates].map(({ issuer }) => [hash('sha256', issuer, 'hex'), issuer] as const));
  const found: ManufacturerCa[] = [];
  for (const subjectSha256 of names.keys()) found.push(...(await read.manufacturerCas.listBySubject(subjectSha256)));
  const trusted = new Map<string, ManufacturerCa[]>();
  const verdicts = new Map<string, PkixError | 'trusted'>();
  for (const ca of found) {
    if (!verdicts.has(ca.sha256) && verdicts.size < MAX_CAS_TRIED) {
      verdicts.set(ca.sha256, judgePath(leaf, { anchor: parsePinned(ca), intermediates, now }));
    }
    if (verdicts.get(ca.sha256) === 'trusted') trusted.set(ca.group, [...(trusted.get(ca.group) ?? []), ca]);
  }
  if (trusted.size > 0) return trusted;
  const outOfDate = [...verdicts.values()].find((v) => v !== 'trusted' && v.code === 'OUT_OF_VALIDITY');
  if (outOfDate === undefined) throw untrusted();
  const code = now < leaf.notBefore ? 'CERTIFICATE_NOT_YET_VALID' : 'CERTIFICATE_EXPIRED';
  throw new GatewayError(code, "this maker's certificate, or one above it, is outside its dates");
}

function judgePath(
  leaf: Certificate,
  { anchor, intermediates, now }: { anchor: Certificate; intermediates: Certificate[]; now: number },
): PkixError | 'trusted' {
  try {
    validatePath(leaf, { anchors: [anchor], intermediates, at: now, maxCertificates: MAX_PATH });
    return 'trusted';
  } catch (error) {
    if (error instanceof PkixError) return error;
    throw error;
  }
}

/** What else a client sends along is its own affair. */
function parseOrNothing(der: Buffer): Certificate[] {
  try {
    return [parseCertificate(der)];
  } catch {
    return [];
  }
}

/** Parsed once: importing a key costs as much as checking a signature with it. */
const pinned = new Map<string, Certificate>();
const MAX_KEPT = 256;

function parsePinned({ sha256, der }: ManufacturerCa): Certificate {
  let certificate = pinned.get(sha256);
  if (certificate === undefined) {
    certificate = parseCertificate(der);
    if (pinned.size >= MAX_KEPT) pinned.clear();
    pinned.set(sha256, certificate);
  }
  return certificate;
}

/** RFC 8995 2.3.1: the subject attribute, not the serial number of the certificate. */
function readSerialNumber({ subject }: Certificate): string {
  const values = parseName(readDer(subject), 'the subject')
    .flat()
    .filter(({ type }) => type === OID.serialNumber)
    .map(({ value }) => readTextOrNothing(value));
  const [serialNumber] = values;
  if (serialNumber === undefined || values.length !== 1 || !/^[\x20-\x7e]{1,64}$/.test(serialNumber)) {
    throw unfit('its subject does not have one serialNumber of 1 to 64 printable characters');
  }
  return serialNumber;
}

function readTextOrNothing(value: DerElement): string | undefined {
  try {
    return readText(value, 'serialNumber');
  } catch (error) {
    if (error instanceof PkixError) return undefined;
    throw error;
  }
}

async function findDevice(
  read: Read,
  serialNumber: string,
  trusted: Trusted,
  { label, deviceId }: Wish,
): Promise<Device | undefined> {
  const alike = (await read.devices.listByHardwareSerial(serialNumber)).filter(({ group }) => trusted.has(group));
  // Whose maker tells devices apart by capitals is rare; who takes one for the other lets a stranger in, or makes a twin.
  const sameSerial = alike.filter(({ hardwareSerial }) => hardwareSerial === serialNumber);
  const named = sameSerial.filter((device) => device.deviceId === deviceId);
  const known = named.length > 0 ? named : sameSerial;
  const [twin] = alike;
  if (known.length === 0 && twin !== undefined) {
    const detail = `"${twin.deviceId}" has the hardware serial "${twin.hardwareSerial}", this one is "${serialNumber}"`;
    throw looksAlike({ deviceId: twin.deviceId, detail });
  }
  const labelled = label === undefined ? known : known.filter(({ group }) => group === label);
  const [device, another] = labelled;
  if (another !== undefined) {
    throw new GatewayError('GROUP_AMBIGUOUS', 'several devices are registered with the serial number of this one');
  }
  const [elsewhere] = known;
  if (device === undefined && elsewhere !== undefined) await requireOwnLabel(read, elsewhere, label);
  if (device !== undefined && isBarred(device)) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${device.state}`, {
      subject: { deviceId: device.deviceId },
    });
  }
  return device;
}

/** For a device that is not registered. */
async function chooseGroup(read: Read, trusted: Trusted, label: string | undefined): Promise<string> {
  if (label !== undefined) {
    if (trusted.has(label)) return label;
    if ((await read.groups.find(label)) === undefined) throw unknownLabel(label);
    throw new GatewayError('MANUFACTURER_UNTRUSTED', `the group "${label}" does not trust the maker of this device`);
  }
  const [only, another] = trusted.keys();
  if (only === undefined) throw untrusted();
  if (another === undefined) return only;
  throw new GatewayError('GROUP_AMBIGUOUS', 'several groups trust the maker of this device, which is not registered');
}

async function newDeviceId(read: Read, serialNumber: string): Promise<DeviceId> {
  if (!isDeviceId(serialNumber)) {
    throw unfit('its serialNumber cannot be a device id; register the device with this hardware serial');
  }
  // Names and serial numbers are given by different people: an equal one says nothing.
  const namesakes = await read.devices.listByName(serialNumber);
  if (namesakes.some(({ deviceId }) => deviceId === serialNumber)) {
    throw new GatewayError(
      'DEVICE_NOT_ALLOWED',
      'a device of this name is registered without, or with another, hardware serial or maker; an operator has to say which it is',
      { subject: { deviceId: serialNumber } },
    );
  }
  const [twin] = namesakes;
  if (twin !== undefined)
    throw looksAlike({ ...twin, detail: `"${twin.deviceId}" differs from "${serialNumber}" in capitals alone` });
  return serialNumber;
}
