// Builds the collector and its optional modules into dist/ and prints what each part weighs.
//   node build.mjs [directory to build into, default dist]

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { SourceMapConsumer } from '@jridgewell/source-map';
import { parse } from 'acorn';
import { minify } from 'terser';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, 'dist');

const TERSER = {
  ecma: 2019,
  compress: { passes: 3, unsafe_arrows: true, unsafe_methods: true, pure_getters: true },
  mangle: true,
  format: { comments: false },
};

const read = (path) => readFileSync(join(here, path), 'utf8');

/** Bytes as `gzip -9` counts them, without a file name in the header. */
const gzipped = (code) => gzipSync(code, { level: 9 }).length;

const write = (name, code) => {
  writeFileSync(join(out, name), code);
  console.log(`${name}: ${code.length} bytes, ${gzipped(code)} bytes gzip -9`);
};

/** The name of the module that each line of the source belongs to: headings look like `// ---- Name ----`. */
const modulesByLine = (source) => {
  let module = 'Ground';
  return source.split('\n').map((line) => (module = line.match(/\/\/ ---- ([^-:]+)/)?.[1].trim() ?? module));
};

/** Minified bytes that come from each module of the source. */
const weigh = (source, code, map) => {
  const modules = modulesByLine(source);
  const mappings = [];
  new SourceMapConsumer(map).eachMapping((mapping) => mappings.push(mapping));
  const bytes = new Map();
  mappings.forEach(({ generatedColumn, originalLine }, index) => {
    const end = mappings[index + 1]?.generatedColumn ?? code.length;
    const module = modules[originalLine - 1];
    bytes.set(module, (bytes.get(module) ?? 0) + end - generatedColumn);
  });
  return bytes;
};

mkdirSync(out, { recursive: true });

// One keyword compresses better than two, and the fields of a page view are nobody else's: they may have short names.
const source = read('collector.js');
const { code, map } = await minify(source.replace(/^( *)const /gm, '$1let '), {
  ...TERSER,
  mangle: { properties: { regex: /^(depth|engaged|excluded|opened|reported|watched)$/ } },
  sourceMap: { asObject: true },
});
parse(code, { ecmaVersion: 2019 }); // throws at anything that a browser of 2019 could not read
write('collector.min.js', code);
for (const [module, bytes] of weigh(source, code, map)) {
  const share = bytes / code.length;
  console.log(`  ${module.padEnd(12)} ${String(bytes).padStart(5)} bytes, about ${Math.round(share * gzipped(code))} gzipped`);
}

/** An optional module: a library's own build, our few lines about it, and the notice that its licence asks for. */
const bundle = async (name, module, library, notice) => {
  const parts = [read(join('node_modules', library)), read(module)];
  const { code } = await minify(`(() => {\n${parts.join('\n')}\n})();`, {
    ...TERSER,
    format: { comments: false, preamble: notice },
  });
  write(name, code);
};

const fingerprintLicence = read('node_modules/@fingerprintjs/fingerprintjs/LICENSE').trim();
await bundle('collector.fingerprint.js', 'fingerprint.js', '@fingerprintjs/fingerprintjs/dist/fp.js', `/*!\nFingerprintJS\n${fingerprintLicence}\n*/`);
await bundle('collector.vitals.js', 'vitals.js', 'web-vitals/dist/web-vitals.iife.js', '/*! web-vitals, Copyright Google LLC, Apache License 2.0: see LICENSE-web-vitals.txt */');
copyFileSync(join(here, 'node_modules/web-vitals/LICENSE'), join(out, 'LICENSE-web-vitals.txt'));
