import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  type DetailedPeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { formatAddress } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { GatewayTrust, TlsIdentity } from '#device-agent/ports/est-client.ts';
import type { IdentityContexts } from './identity-contexts.ts';

export type TlsTarget = {
  address: { host: string; port: number };
  /** `unverified` only for the first contact of RFC 7030 4.1.1. */
  trust: GatewayTrust | 'unverified';
  identity?: TlsIdentity;
  /** ALPN protocol. */
  protocol: string;
  timeoutMs: number;
  /** Holds key, certificates and anchors already. */
  secureContext?: SecureContext;
};

/**
 * SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and ..._RX_...: without them a Node client burns milliseconds of Brotli on every
 * connect to a server that offers it.
 */
const NO_CERTIFICATE_COMPRESSION = 2 ** 32 + 2 ** 33;

/** @param contexts for identities whose keys are not in a PEM alone; left out: every connection reads key and certificates. */
export function createTlsDialer(contexts?: IdentityContexts): typeof dialTls {
  if (!contexts) return dialTls;
  return async (target, signal) => {
    const { identity } = target;
    // A claim's or the maker's key is in a file also where the device's own is not.
    if (!identity || KEY_IN_PEM.test(identity.key)) return dialTls(target, signal);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await dialWithContext(target, identity, contexts, signal);
      } catch (error) {
        if (!isAboutOwnKey(error)) throw error;
        // The key is not where it was, by a reset or by another program: load it again. Once more after that, since a
        // connection of before may end now and take the slot with it, by the number that is ours again.
        contexts.doubt(identity, error);
        if (attempt === KEY_ATTEMPTS || signal?.aborted === true) throw error;
        await delay(KEY_PAUSE_MS);
      }
    }
  };
}

const KEY_IN_PEM = /-----BEGIN (EC |RSA )?PRIVATE KEY-----/;

async function dialWithContext(
  target: TlsTarget,
  identity: TlsIdentity,
  contexts: IdentityContexts,
  signal: AbortSignal | undefined,
): Promise<TLSSocket> {
  const { minVersion, secureOptions, ca } = tlsOptions(target);
  const secureContext = await contexts.contextFor(identity, { minVersion, secureOptions, ca });
  const socket = await dialTls({ ...target, secureContext }, signal);
  // TLS 1.3: the client is done before the server has judged it. A key that has silently gone shows only now.
  socket.on('error', (error) => {
    if (isAboutOwnKey(error)) contexts.doubt(identity, error);
  });
  return socket;
}

/** Our own signature could not be made, or the other side had reason to doubt it. */
function isAboutOwnKey(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  return [error, cause].some((one) => {
    if (!(one instanceof Error)) return false;
    const code = String((one as NodeJS.ErrnoException).code);
    return OWN_KEY_ERRORS.test(code) || (code.startsWith('ERR_SSL_') && ENGINE_ERRORS.test(one.message));
  });
}

const KEY_ATTEMPTS = 3;
const KEY_PAUSE_MS = 50;

const OWN_KEY_ERRORS = /CANNOT_SIGN|ALERT_CERTIFICATE_REQUIRED|ALERT_DECRYPT_ERROR|ERR_OSSL_(EVP_)?(PROV|TPM2)/;
/** A signature that fails in the engine has no code of its own; OpenSSL names the library. */
const ENGINE_ERRORS = /:(PKCS#11 module|pkcs11 engine):/;

/**
 * A TLS connection whose other side is verified: chain to a pinned anchor, server purpose, host name, dates.
 * @throws AgentError GATEWAY_UNREACHABLE (no connection, or no answer), GATEWAY_UNTRUSTED (somebody else answered),
 * GATEWAY_REFUSED (the other side ended the handshake), STOPPED (the signal was aborted).
 */
export function dialTls(target: TlsTarget, signal?: AbortSignal): Promise<TLSSocket> {
  const { address, trust } = target;
  const at = formatAddress(address);
  return new Promise((resolve, reject) => {
    let connected = false;
    const socket = connect(tlsOptions(target));
    const timer = setTimeout(() => fail('GATEWAY_UNREACHABLE', `${at} does not answer`), target.timeoutMs);
    const onAbort = () => fail('STOPPED', 'stopped while connecting');
    const release = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (code: AgentError['code'], message: string, cause?: unknown) => {
      release();
      // A later error of the same socket has been answered by this one.
      socket.on('error', () => {});
      socket.destroy();
      const error = new AgentError(code, message, { cause, ...adviceFor(code, cause) });
      // Only then has it let go of its key: what is loaded before that may be unloaded in its place.
      if (code === 'TPM_UNUSABLE' && !socket.closed) socket.once('close', () => reject(error));
      else reject(error);
    };
    const onClose = () => fail('GATEWAY_UNREACHABLE', `${at} closed the connection during the TLS handshake`);
    const onError = (error: NodeJS.ErrnoException) => {
      const verification = socket.authorizationError as unknown;
      if (verification)
        return fail('GATEWAY_UNTRUSTED', `${at} is not the gateway that is trusted here: ${error.message}`, error);
      if (!connected)
        return fail('GATEWAY_UNREACHABLE', `${at} cannot be reached: ${describeNetworkError(error)}`, error);
      if (isAboutOwnKey(error)) return fail('TPM_UNUSABLE', 'the key of this device could not sign in TLS', error);
      if (/ALERT/.test(error.code ?? ''))
        return fail('GATEWAY_REFUSED', `${at} ended the TLS handshake: ${error.message}`, error);
      // Without an alert it is no answer: a gateway with too many at its door, or something between, cut the connection.
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE')
        return fail('GATEWAY_UNREACHABLE', `${at} cut the connection during the TLS handshake`, error);
      return fail('GATEWAY_UNTRUSTED', `${at} does not speak TLS as a gateway does: ${error.message}`, error);
    };
    socket.once('connect', () => {
      connected = true;
    });
    socket.once('error', onError);
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      try {
        if (trust !== 'unverified' && trust.floor !== undefined)
          verifyWithoutClock(socket, address.host, trust.anchors, trust.floor);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return fail('GATEWAY_UNTRUSTED', `${at} is not the gateway that is trusted here: ${why}`, error);
      }
      release();
      socket.off('error', onError);
      socket.off('close', onClose);
      return resolve(socket);
    });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function tlsOptions({ address, trust, identity, protocol, secureContext }: TlsTarget): ConnectionOptions {
  const options: ConnectionOptions = {
    host: address.host,
    port: address.port,
    // RFC 6066 3: server_name holds no address.
    ...(isIP(address.host) === 0 ? { servername: address.host } : {}),
    minVersion: 'TLSv1.2',
    ALPNProtocols: [protocol],
    secureOptions: NO_CERTIFICATE_COMPRESSION,
    ...identityOptions(identity, secureContext),
  };
  // First contact: whoever answers is believed in nothing; the caller compares the fingerprint of what it got.
  if (trust === 'unverified') return { ...options, rejectUnauthorized: false };
  // Only the pinned anchors, never those of the system (RFC 7030 3.3.1).
  const ca = trust.anchors.map((der) => formatPem('CERTIFICATE', der));
  // With a clock known to be wrong OpenSSL would refuse every date: the same checks without dates follow below.
  return trust.floor === undefined
    ? { ...options, ca, rejectUnauthorized: true }
    : { ...options, ca, rejectUnauthorized: false };
}

function identityOptions(identity: TlsIdentity | undefined, secureContext: SecureContext | undefined) {
  if (secureContext) return { secureContext };
  return identity ? { key: identity.key, cert: identity.certificates } : {};
}

/** RFC 8995 2.6.1. Runs before a byte is sent over the connection. */
function verifyWithoutClock(socket: TLSSocket, host: string, anchors: Buffer[], floor: number): void {
  const peer = socket.getPeerCertificate(true);
  const [leaf, ...intermediates] = chainOf(peer);
  if (!leaf) throw new Error('it showed no certificate');
  const path = validatePath(leaf, {
    intermediates,
    anchors: anchors.map((der) => parseCertificate(der)),
    extendedKeyUsage: OID.serverAuth,
    // Room for the links between roots: an anchor may be two roots old.
    maxCertificates: 6,
  });
  if (path.some((certificate) => certificate.notAfter < floor)) throw new Error('its certificate has expired');
  const mismatch = checkServerIdentity(host, peer);
  if (mismatch) throw mismatch;
}

function chainOf(peer: DetailedPeerCertificate): Certificate[] {
  const chain: Certificate[] = [];
  // OpenSSL closes the chain with a root that issued itself; the bound is for chains that go on.
  for (
    let next: DetailedPeerCertificate | undefined = peer;
    next?.raw && chain.length < 6;
    next = next.issuerCertificate
  ) {
    const { raw } = next;
    if (chain.some((seen) => seen.der.equals(raw))) break;
    chain.push(parseCertificate(raw));
  }
  return chain;
}

function describeNetworkError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name is not known';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no network route';
    case 'ETIMEDOUT':
      return 'no answer in time';
    case undefined:
      return error.message;
    default:
      return error.message || error.code;
  }
}

function adviceFor(code: AgentError['code'], cause: unknown): { advice?: string } {
  if (code === 'GATEWAY_UNREACHABLE')
    return { advice: 'check the address, the network and any firewall; the gateway may be down' };
  if (code === 'TPM_UNUSABLE') return { advice: 'run `gatehouse-agent check`: it tells how the TPM is' };
  if (code !== 'GATEWAY_UNTRUSTED') return {};
  const reason = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  if (reason === 'CERT_NOT_YET_VALID' || reason === 'CERT_HAS_EXPIRED') {
    return { advice: "compare this device's clock with the gateway's; else the gateway's certificate has expired" };
  }
  if (reason === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return { advice: 'use a host name or address that stands in the certificate of the gateway' };
  }
  return {
    advice: 'somebody may stand in between, or the address is of another gateway: do not go on before this is clear',
  };
}
