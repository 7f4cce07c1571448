// The module by which `edge-impulse-uploader` sends files, as the package edge-impulse-linux has it and unchanged:
// `node edge_impulse_uploader.mjs CASE URL KEY PHOTO LABEL`. Only the address of the ingestion is ours.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.cwd(), 'x.js'))
const { upload } = require('edge-impulse-linux/build/cli-common/make-image.js')
const [, , name, url, key, photo, label] = process.argv
const send = options => upload({
  filename: path.basename(photo), buffer: fs.readFileSync(photo), apiKey: key, allowDuplicates: false, category: 'split',
  config: { endpoints: { internal: { ingestion: url } } }, label: { type: 'label', label }, addDateId: false, ...options,
})

const cases = {
  label: () => send(),
  'label from the file name, metadata': () => send({ label: { type: 'infer' }, filename: `${label}.1.jpg`, metadata: { room: 'kitchen' } }),
  'known already': async () => {
    await send()
    const told = await send().then(() => 'taken twice', error => error.message)
    if (!told.includes('already exists')) throw new Error(told)
  },
  'bounding boxes': () => send({ boundingBoxes: [{ label, x: 0, y: 0, width: 10, height: 10 }] }),
}
await cases[name]()
console.log('done')
process.exit()
