import { readDer } from './der.ts';
import { expectTag, readOid, readText } from './der-values.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

/** Every commonName of a Name, in order. @throws PkixError MALFORMED, also when one is not plain text. */
export function readCommonNames(name: Uint8Array): string[] {
  const found: string[] = [];
  for (const rdn of expectTag(readDer(name), 0x30, 'a Name').children()) {
    for (const attribute of expectTag(rdn, 0x31, 'an RDN').children()) {
      const [type, value] = expectTag(attribute, 0x30, 'a subject attribute').children();
      if (type === undefined || value === undefined || readOid(type, 'a subject attribute type') !== OID.commonName)
        continue;
      const text = readText(value, 'a commonName');
      if (text === undefined) throw new PkixError('MALFORMED', 'a commonName is not text');
      found.push(text);
    }
  }
  return found;
}
