import type { TlsOptions } from 'node:tls';
import { formatPem } from '#ca/pkix/pem.ts';
import { acceptedIssuers, anchorsOf, type CaTrust, chainAbove } from '#gateway/domain/ca-trust.ts';
import type { DoorTls } from './mqtt/tls-options.ts';
import type { OwnIdentities } from './own-identities.ts';
import { serverTlsOptions } from './runtime/tls-options.ts';

/** For the HTTPS doors. */
export function serverTls(identities: OwnIdentities, trust: CaTrust): TlsOptions {
  return serverTlsOptions({
    key: identities.server.key,
    chain: shownChain(identities, trust),
    authorities: [...anchorsOf(trust), ...acceptedIssuers(trust).map(({ certificate }) => certificate)].map(
      ({ der }) => der,
    ),
  });
}

/** For the MQTT door. @param manufacturers DER of the CAs of makers that some group trusts */
export function mqttTls(identities: OwnIdentities, trust: CaTrust, manufacturers: readonly Uint8Array[] = []): DoorTls {
  return {
    certificateChain: shownChain(identities, trust)
      .map((der) => formatPem('CERTIFICATE', der))
      .join(''),
    privateKey: identities.server.key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    issuers: acceptedIssuers(trust).map(({ certificate }) => formatPem('CERTIFICATE', certificate.der)),
    manufacturers: manufacturers.map((der) => formatPem('CERTIFICATE', der)),
  };
}

/** DER: with all that clients need who know an older root of ours alone. */
function shownChain({ server: { certificate } }: OwnIdentities, trust: CaTrust): Buffer[] {
  return [certificate, ...chainAbove(trust, certificate.authorityKeyId)].map(({ der }) => der);
}
