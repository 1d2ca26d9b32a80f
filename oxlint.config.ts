import { defineConfig, type OxlintOverride } from 'oxlint';

/**
 * Who may import whom (see the table in README.md, "Layout").
 * Inside a folder imports are `./neighbour.ts`; across folders `#gateway/...`; never `../`.
 * So the words of an import are its path, and this one table holds the whole architecture.
 */
const caFormats = ['#ca/pkix/**', '#ca/tpm2/**'];
const caRules = [...caFormats, '#ca/issuance/**', '#ca/revocation/**'];
const caRulesAndPorts = [...caRules, '#ca/ports/**'];
const asn1Packages = ['@peculiar/x509', 'pkijs', 'asn1js', 'reflect-metadata'];
const anyPackage = ['*', '@*/**', '*/**', 'node:*'];

type Layer = { files: string[]; local: string[]; packages: string[] };

const layers: Layer[] = [
  { files: ['ca/pkix/**'], local: [], packages: ['node:crypto', 'node:buffer', ...asn1Packages] },
  { files: ['ca/tpm2/**'], local: ['#ca/pkix/der.ts'], packages: ['node:crypto', 'node:buffer'] },
  { files: ['ca/issuance/**', 'ca/revocation/**'], local: ['#ca/pkix/**'], packages: ['node:crypto', ...asn1Packages] },
  { files: ['ca/ports/**'], local: caRules, packages: ['node:crypto'] },
  { files: ['ca/authority/**'], local: caRulesAndPorts, packages: ['node:crypto'] },
  { files: ['ca/keys/**', 'ca/ceremony/**', 'ca/socket/**', 'ca/*.ts'], local: ['#ca/**'], packages: anyPackage },
  { files: ['gateway/contract/**'], local: [], packages: [] },
  {
    files: ['gateway/domain/**'],
    local: ['#gateway/domain/**', '#gateway/contract/**', ...caFormats, '#ca/revocation/**'],
    packages: ['node:crypto'],
  },
  {
    files: ['gateway/ports/**'],
    local: ['#gateway/domain/**', '#gateway/contract/**', ...caRulesAndPorts],
    packages: ['node:crypto'],
  },
  {
    files: ['gateway/operations/**'],
    local: ['#gateway/domain/**', '#gateway/ports/**', '#gateway/contract/**', ...caRulesAndPorts],
    packages: ['node:crypto'],
  },
  ...['est', 'mqtt', 'validation', 'operator'].map((door) => ({
    files: [`gateway/${door}/**`],
    local: [
      `#gateway/${door}/**`,
      '#gateway/operations/**',
      '#gateway/domain/**',
      '#gateway/ports/**',
      '#gateway/contract/**',
      ...caRulesAndPorts,
    ],
    packages: anyPackage,
  })),
  ...['store', 'runtime'].map((folder) => ({
    files: [`gateway/${folder}/**`],
    local: [
      `#gateway/${folder}/**`,
      '#gateway/domain/**',
      '#gateway/ports/**',
      '#gateway/contract/**',
      ...caRulesAndPorts,
    ],
    packages: anyPackage,
  })),
  { files: ['gateway/*.ts'], local: ['#gateway/**', '#ca/**'], packages: anyPackage },
  { files: ['device-agent/ports/**'], local: ['#gateway/contract/**', ...caFormats], packages: ['node:crypto'] },
  {
    files: ['device-agent/domain/**'],
    local: ['#gateway/contract/**', ...caFormats],
    packages: ['node:crypto'],
  },
  {
    files: ['device-agent/operations/**'],
    local: ['#device-agent/domain/**', '#device-agent/ports/**', '#gateway/contract/**', ...caFormats],
    packages: ['node:crypto'],
  },
  ...['est', 'mqtt', 'state', 'keys', 'tpm', 'control', 'runtime'].map((folder) => ({
    files: [`device-agent/${folder}/**`],
    local: [
      `#device-agent/${folder}/**`,
      '#device-agent/domain/**',
      '#device-agent/ports/**',
      '#device-agent/operations/**',
      '#gateway/contract/**',
      ...caFormats,
    ],
    packages: anyPackage,
  })),
  {
    files: ['device-agent/*.ts'],
    local: ['#device-agent/**', '#gateway/contract/**', ...caFormats],
    packages: anyPackage,
  },
  {
    files: ['simulators/**'],
    local: ['#simulators/**', '#device-agent/**', '#gateway/contract/**', ...caFormats],
    packages: anyPackage,
  },
  {
    files: ['scripts/**'],
    local: ['#scripts/**', '#gateway/contract/**', '#gateway/store/**', '#ca/ceremony/**'],
    packages: anyPackage,
  },
];

/** Everything not on a layer's list is refused: an allow-list written as a negated pattern group. */
function onlyImports({ local, packages }: Layer): OxlintOverride['rules'] & object {
  return {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: [
              '*',
              '**',
              '../**',
              ...packages.map((p) => `!${p}`),
              '!./**',
              '../**',
              '#*/**',
              ...local.map((p) => `!${p}`),
            ],
            message: 'This folder may not import that: see who may import whom in README.md.',
          },
        ],
      },
    ],
  };
}

export default defineConfig({
  plugins: ['typescript', 'import', 'unicorn', 'oxc', 'promise', 'node'],
  categories: { correctness: 'error', suspicious: 'error' },
  options: { typeAware: true },
  rules: {
    'import/no-cycle': 'error',
    'import/no-default-export': 'error',
    'import/no-unassigned-import': 'off',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/switch-exhaustiveness-check': 'error',
    'typescript/consistent-type-imports': 'error',
    'no-console': 'error',
    'no-await-in-loop': 'off',
    'no-shadow': 'off',
    'no-underscore-dangle': 'off',
    'unicorn/no-array-sort': 'off',
    'unicorn/prefer-add-event-listener': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/consistent-return': 'off',
    'consistent-return': 'off',
  },
  overrides: [
    ...layers.map((layer) => ({ files: layer.files, rules: onlyImports(layer) })),
    { files: ['*.config.ts'], rules: { 'import/no-default-export': 'off' } },
    { files: ['scripts/**', 'simulators/**', 'device-agent/main.ts', 'ca/main.ts'], rules: { 'no-console': 'off' } },
    { files: ['test/**'], rules: { 'typescript/no-non-null-assertion': 'off', 'no-console': 'off' } },
  ],
});
