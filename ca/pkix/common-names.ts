import { readDer } from './der.ts';
import { readText } from './der-values.ts';
import { parseName } from './name.ts';
import { OID } from './oids.ts';
import { PkixError } from './pkix-error.ts';

/** Every commonName of a Name (DER), in order. @throws PkixError MALFORMED, also when one is not plain text */
export function readCommonNames(name: Uint8Array): string[] {
  const attributes = parseName(readDer(name), 'a name').flat();
  return attributes
    .filter(({ type }) => type === OID.commonName)
    .map(({ value }) => {
      const text = readText(value, 'a commonName');
      if (text === undefined) throw new PkixError('MALFORMED', 'a commonName is not text');
      return text;
    });
}
