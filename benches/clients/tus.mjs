// tus-js-client as it is: `node tus.mjs CASE URL DATASET KEY PHOTO LABEL`. Says "done" when the client does.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { PassThrough } from 'node:stream'

const tus = createRequire(path.join(process.cwd(), 'x.js'))('tus-js-client')
const [, , name, url, dataset, key, photo, label] = process.argv
const stream = () => fs.createReadStream(photo)
const size = fs.statSync(photo).size
const piece = Math.ceil(size / 4)

const cases = {
  file: [stream, {}],
  'file in pieces': [stream, { chunkSize: piece }],
  buffer: [() => fs.readFileSync(photo), {}],
  'buffer with the creation': [() => fs.readFileSync(photo), { uploadDataDuringCreation: true }],
  'buffer in three parallel parts': [() => fs.readFileSync(photo), { parallelUploads: 3, metadataForPartialUploads: {} }],
  'stream of unknown length, one piece': [() => anonymous(), { uploadLengthDeferred: true, chunkSize: size + 1 }],
  'stream of unknown length, four pieces': [() => anonymous(), { uploadLengthDeferred: true, chunkSize: piece }],
  'file whose length is held back, four pieces': [stream, { uploadLengthDeferred: true, chunkSize: piece }],
  'IETF draft, interop 5': [() => fs.readFileSync(photo), { protocol: 'ietf-draft-05', chunkSize: piece }],
  'IETF draft, interop 3': [() => fs.readFileSync(photo), { protocol: 'ietf-draft-03', chunkSize: piece }],
}

// A stream that is no file to the client: its length cannot be looked up.
function anonymous() {
  return stream().pipe(new PassThrough())
}

const [input, options] = cases[name] ?? (name === 'aborted and gone on with' ? [() => fs.readFileSync(photo), { chunkSize: piece }] : [])
const isDraft = name.startsWith('IETF')
const settings = {
  endpoint: `${url}/v1/datasets/${dataset}/${isDraft ? 'captures' : 'tus'}`,
  headers: { Authorization: `Bearer ${key}`, ...(isDraft ? { 'X-Label': label } : {}) },
  metadata: { filename: path.basename(photo), filetype: 'image/jpeg', label },
  retryDelays: [200, 500],
  ...options,
  onError: (error) => {
    console.log(error.message)
    process.exit(1)
  },
  onSuccess: () => {
    console.log('done')
    process.exit(0)
  },
}

if (name === 'aborted and gone on with') {
  const first = new tus.Upload(input(), {
    ...settings,
    onChunkComplete: async (_, sent) => {
      if (sent >= size / 2) {
        await first.abort()
        new tus.Upload(input(), { ...settings, endpoint: null, uploadUrl: first.url }).start()
      }
    },
  })
  first.start()
} else {
  new tus.Upload(input(), settings).start()
}
