import type { TlsOptions } from 'node:tls';
import { formatPem } from '#ca/pkix/pem.ts';
import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';
import type { DoorTls } from './mqtt/tls-options.ts';
import type { OwnIdentities } from './own-identities.ts';
import { serverTlsOptions } from './runtime/tls-options.ts';

/** For the HTTPS doors. */
export function serverTls(identities: OwnIdentities, authority: AuthorityDescription): TlsOptions {
  const { key, certificate } = identities.server;
  const { rootCertificate, intermediateCertificate } = authority;
  return serverTlsOptions({
    key,
    chain: [certificate.der, intermediateCertificate],
    authorities: [rootCertificate, intermediateCertificate],
  });
}

/** For the MQTT door. @param manufacturers DER of the CAs of makers that some group trusts */
export function mqttTls(
  identities: OwnIdentities,
  authority: AuthorityDescription,
  manufacturers: readonly Uint8Array[] = [],
): DoorTls {
  const { key, certificate } = identities.server;
  const { intermediateCertificate } = authority;
  return {
    certificateChain: [certificate.der, intermediateCertificate].map((der) => formatPem('CERTIFICATE', der)).join(''),
    privateKey: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    issuers: [formatPem('CERTIFICATE', intermediateCertificate)],
    manufacturers: manufacturers.map((der) => formatPem('CERTIFICATE', der)),
  };
}
