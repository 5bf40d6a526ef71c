// Builds the collector and its optional modules into dist/ and prints the size of each part.
//   node build.mjs [directory to build into, default dist]

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { SourceMapConsumer } from '@jridgewell/source-map';
import { minify } from '@swc/core';
import { parse } from 'acorn';
import { build, transform } from 'esbuild';
import UglifyJS from 'uglify-js';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, 'dist');

/** The flags that collector.js tests, one a feature. */
const FEATURES = ['CLICKS', 'LINKS', 'SCROLL', 'FORMS', 'TILDA', 'COMMERCE', 'OPTIONAL', 'EARLY'];

/** The main builds, each with the features that it leaves out. */
const BUILDS = { 'collector.base.js': ['COMMERCE'], 'collector.shop.js': [] };

/** The optional modules that need no library. */
const PLAIN_MODULES = [
  'consent',
  'fields',
  'early',
  'tagged',
  'errors',
  'search',
  'notFound',
  'media',
  'deadClicks',
  'linker',
];

// The API replaces the last `({})` by the site's settings. `self` is the window; local names are shorter than globals.
const HEAD = '((SETTINGS,window=self,document=window.document)=>{';
const TAIL = '})(SETTINGS_OF_SITE);';

const SWC = {
  module: false,
  ecma: 2019,
  compress: { passes: 3, unsafe_arrows: true, unsafe_methods: true, unsafe_regexp: true, pure_getters: true },
  mangle: true,
};

const read = (path) => readFileSync(join(here, path), 'utf8');

/** Bytes as `gzip -9` counts them, without a file name in the header. */
const gzipped = (code) => gzipSync(code, { level: 9 }).length;

const write = (name, code) => {
  parse(code, { ecmaVersion: 2019 }); // throws at syntax that a browser of 2019 cannot read
  writeFileSync(join(out, name), code);
  console.log(`${name}: ${Buffer.byteLength(code)} bytes, ${gzipped(code)} bytes gzip -9`);
};

/** Returns the code of the entry and everything it imports in one scope, with a source map. */
const bundle = async (without) => {
  const result = await build({
    absWorkingDir: here,
    entryPoints: ['collector.js'],
    outfile: 'dist/collector.js', // not written; the source map's paths are relative to it
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2019',
    charset: 'utf8',
    minifySyntax: true,
    sourcemap: 'external',
    define: Object.fromEntries(FEATURES.map((feature) => [feature, String(!without.includes(feature))])),
  });
  const [map, code] = result.outputFiles.map(({ text }) => text);
  return { code, map: JSON.parse(map) };
};

/** Returns the minified bytes that come from each source file. The rest (head and tail) counts as "build". */
const weigh = (code, map) => {
  const lineStarts = [0, ...[...code.matchAll(/\n/g)].map(({ index }) => index + 1)];
  const mappings = [];
  new SourceMapConsumer(map).eachMapping(({ generatedLine, generatedColumn, source }) => {
    mappings.push({ start: lineStarts[generatedLine - 1] + generatedColumn, source });
  });
  const bytes = new Map();
  mappings.forEach(({ start, source }, index) => {
    const file = source?.replace('../', '') ?? 'build';
    const end = mappings[index + 1]?.start ?? code.length;
    bytes.set(file, (bytes.get(file) ?? 0) + end - start);
  });
  return [...bytes].sort();
};

const buildMain = async (name, without) => {
  const bundled = await bundle(without);
  // The head is a line of its own, hence the `;` in front of esbuild's mappings.
  const compressed = await minify(`${HEAD}\n${bundled.code}\n${TAIL}`, {
    ...SWC,
    sourceMap: { content: JSON.stringify({ ...bundled.map, mappings: `;${bundled.map.mappings}` }) },
  });
  // A second minifier finds what swc leaves: about 80 bytes after gzip.
  const {
    code: shortest,
    map,
    error,
  } = UglifyJS.minify(compressed.code, {
    compress: { passes: 5 },
    sourceMap: { content: compressed.map },
  });
  if (error) throw error;
  if (!/\(SETTINGS_OF_SITE\);?$/.test(shortest)) throw new Error(`${name} must end in the place for the settings`);
  const code = shortest.replace(/SETTINGS_OF_SITE\);?$/, '{});');
  write(name, code);
  for (const [file, bytes] of weigh(code, JSON.parse(map))) {
    const share = Math.round((bytes / code.length) * gzipped(code));
    console.log(`  ${file.padEnd(22)} ${String(bytes).padStart(5)} bytes, about ${String(share).padStart(3)} gzipped`);
  }
};

/** Builds an optional module: a library's own build (if it uses one), our lines, and the notice of the licence. */
const buildOptional = async (name, { library, notice = '' } = {}) => {
  const bundled = await build({
    absWorkingDir: here,
    entryPoints: [`optional/${name}.js`],
    bundle: true,
    write: false,
    format: 'esm',
    charset: 'utf8',
  });
  const parts = [library ? read(join('node_modules', library)) : '', bundled.outputFiles[0].text];
  const lowered = await transform(`(() => {\n${parts.join('\n')}\n})();`, { target: 'es2019', charset: 'utf8' });
  const { code } = await minify(lowered.code, SWC);
  write(`collector.${name}.js`, notice + code);
};

mkdirSync(out, { recursive: true });
for (const [name, without] of Object.entries(BUILDS)) await buildMain(name, without);

const fingerprintLicence = read('node_modules/@fingerprintjs/fingerprintjs/LICENSE').trim();
for (const name of PLAIN_MODULES) await buildOptional(name);
await buildOptional('fingerprint', {
  library: '@fingerprintjs/fingerprintjs/dist/fp.js',
  notice: `/*!\nFingerprintJS\n${fingerprintLicence}\n*/\n`,
});
await buildOptional('vitals', {
  library: 'web-vitals/dist/web-vitals.iife.js',
  notice: '/*! web-vitals, Copyright Google LLC, Apache License 2.0: see LICENSE-web-vitals.txt */\n',
});
copyFileSync(join(here, 'node_modules/web-vitals/LICENSE'), join(out, 'LICENSE-web-vitals.txt'));
