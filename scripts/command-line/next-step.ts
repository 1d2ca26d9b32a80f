/** What a person does next when the gateway refused, by its code. Codes without an entry explain themselves. */
const NEXT_STEP: Readonly<Record<string, string>> = {
  DEVICE_UNKNOWN: 'list the devices with: gatehouse device list',
  ALREADY_EXISTS:
    'for another ticket of a known device: gatehouse device add ID --new-ticket; another board: gatehouse device replace-hardware ID',
  NOT_FOUND:
    'check the name; list with: gatehouse device list, group list, certificate list, ticket list, enrollment list, alarm list, renewal status or revoke status',
  STATE_CONFLICT: 'look at its state with: gatehouse device show ID',
  DEVICE_NOT_ALLOWED:
    'look at its state with: gatehouse device show ID; a new ticket: gatehouse device add ID --new-ticket',
  DEVICE_LOOKS_ALIKE:
    'see which one is meant: gatehouse attempt list; another board: gatehouse device replace-hardware ID',
  AUTHORITY_UNAVAILABLE: 'the certificate authority does not answer; see: gatehouse doctor',
  OVERLOADED: 'try again in a few seconds',
  RATE_LIMITED: 'wait a minute, then try again',
  INTERNAL: "the reason is in the gateway's log",
  // What a device was told; the technician's script shows these.
  TICKET_UNKNOWN: 'copy the whole join URL again, or make a new one: gatehouse device add ID --new-ticket',
  TICKET_EXPIRED: 'make a new ticket: gatehouse device add ID --new-ticket',
  TICKET_SPENT: 'a ticket works once; make a new one: gatehouse device add ID --new-ticket',
  TICKET_REVOKED: 'make a new ticket: gatehouse device add ID --new-ticket',
  TICKET_OF_ANOTHER_DEVICE: 'use the join URL that was printed for this device',
  CREDENTIALS_MISSING: 'give the agent the whole join URL: gatehouse-agent enroll JOIN-URL',
  KEY_NOT_ALLOWED: 'allow the key in the group (gatehouse group set GROUP --keys ...), or let the agent use another',
  PROOF_TOO_LOW: 'the group asks for a key in a TPM: gatehouse group show GROUP',
  ATTESTATION_REQUIRED:
    'enroll with the TPM: gatehouse-agent enroll JOIN-URL --key tpm; when the reason is that it has shown one before, and has none now: gatehouse device replace-hardware ID',
  EK_CERTIFICATE_UNTRUSTED: 'trust the maker: gatehouse tpm root add FILE; or this TPM: gatehouse tpm ek allow SHA256',
  EK_NOT_ALLOWED: 'allow this TPM: gatehouse tpm ek allow SHA256, or --csv FILE',
  EK_BELONGS_TO_ANOTHER:
    'the reason names that device; when this hardware is not its own any more: gatehouse device replace-hardware or retire, of that one',
  EK_CHANGED: 'if the hardware was replaced on purpose: gatehouse device replace-hardware ID',
  CSR_MALFORMED: 'send base64 of a DER PKCS#10 request',
  CSR_SIGNATURE_INVALID: 'make the request again with the key that it names',
  CSR_BINDING_INVALID: 'bind the request to the connection that sends it, or leave challengePassword out',
  APPROVAL_PENDING: 'decide it: gatehouse enrollment list, then gatehouse enrollment approve REQUEST',
  APPROVAL_REFUSED: 'see who refused it and why: gatehouse enrollment list --state refused',
  APPROVAL_QUEUE_FULL: 'decide what waits: gatehouse enrollment list',
  CSR_BINDING_REQUIRED: 'let the client bind its CSR (RFC 7030 3.5), or: gatehouse group set GROUP --binding optional',
  LABEL_UNKNOWN: 'see the groups: gatehouse group list',
  LABEL_OF_ANOTHER_GROUP: 'see its group: gatehouse device show ID',
  MANUFACTURER_UNTRUSTED: "trust the maker's CA: gatehouse manufacturer add FILE --group GROUP",
  GROUP_AMBIGUOUS: 'let the device name its group (the label in the path), or register it: gatehouse device add ID',
  REGISTRAR_NOT_ALLOWED: 'see its groups: gatehouse registrar list',
  SERVER_KEYGEN_OFF: 'allow it: gatehouse group set GROUP --server-keygen',
  NETWORK_NOT_ALLOWED:
    'see its networks: gatehouse group show GROUP; change them: gatehouse group set GROUP --network CIDR',
  OUTSIDE_HOURS: 'see its hours: gatehouse group show GROUP; change them: gatehouse group set GROUP --hours WINDOW',
  GROUP_FULL: 'retire devices (gatehouse device retire ID), or: gatehouse group set GROUP --max-devices COUNT',
  DEVICE_ID_NOT_ALLOWED: 'see its pattern: gatehouse group show GROUP',
  OWNER_MISSING:
    'give it an owner: gatehouse device import FILE --group GROUP, with the columns deviceId,owner; or: gatehouse group set GROUP --no-require-owner',
  POLICY_WEBHOOK_REFUSED: 'ask who runs the webhook: gatehouse group show GROUP',
  POLICY_WEBHOOK_UNAVAILABLE: "see the gateway's log for what the webhook did; which one: gatehouse group show GROUP",
  BODY_NOT_BASE64: 'send base64 of a DER PKCS#10 request, without PEM lines',
};

/**
 * @param deviceId put where the advice says ID
 * @returns undefined when the code needs no advice or is not known
 */
export function nextStepFor(code: string | null | undefined, deviceId?: string): string | undefined {
  if (code == null || !Object.hasOwn(NEXT_STEP, code)) return undefined;
  // Of something else than a device: its own words say what to do.
  if (code === 'STATE_CONFLICT' && deviceId === undefined) return undefined;
  return deviceId === undefined ? NEXT_STEP[code] : NEXT_STEP[code]?.replaceAll(/\bID\b/g, deviceId);
}
