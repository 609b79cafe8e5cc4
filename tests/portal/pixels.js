// SPDX-License-Identifier: Apache-2.0
// A screenshot as numbers. Reads what browsers write: PNG, 8 bits a channel,
// RGB or RGBA, not interlaced (PNG specification, sections 5, 9 and 11).
'use strict';

const zlib = require('zlib');

const NUM_CHANNELS = {2: 3, 6: 4};  // by colour type

function chunks(png) {
  const found = {head: null, data: []};
  for (let at = 8; at + 8 <= png.length;) {
    const length = png.readUInt32BE(at);
    const body = png.subarray(at + 8, at + 8 + length);
    const kind = png.toString('latin1', at + 4, at + 8);
    if (kind === 'IHDR') {
      found.head = body;
    } else if (kind === 'IDAT') {
      found.data.push(body);
    }
    at += length + 12;
  }
  return found;
}

function paeth(left, above, corner) {
  const a = Math.abs(above - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + above - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

// Undoes the filter of the row at `row`, whose first byte names it.
function unfilter(row, above, step) {
  const kind = row[0];
  for (let i = 1; i < row.length; ++i) {
    const left = i > step ? row[i - step] : 0;
    const up = above ? above[i] : 0;
    const corner = above && i > step ? above[i - step] : 0;
    row[i] += [
      0, left, up, (left + up) >> 1, kind === 4 ? paeth(left, up, corner) : 0,
    ][kind];
  }
}

// Light of a colour, 0 to 255, as television has it.
function light(red, green, blue) {
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// {width, height, colours, light, mostCommon}: how many colours there are, the
// mean of the light, and the share of the most common colour.
function measure(png) {
  const {head, data} = chunks(png);
  const step = NUM_CHANNELS[head[9]];
  if (head[8] !== 8 || !step || head[12] !== 0) {
    throw new Error('not a picture as browsers write it');
  }
  const width = head.readUInt32BE(0);
  const height = head.readUInt32BE(4);
  const rows = zlib.inflateSync(Buffer.concat(data));
  const stride = width * step + 1;
  const counts = new Map();
  let sum = 0;
  let above = null;
  for (let y = 0; y < height; ++y) {
    const row = rows.subarray(y * stride, (y + 1) * stride);
    unfilter(row, above, step);
    for (let i = 1; i < row.length; i += step) {
      const colour = (row[i] << 16) | (row[i + 1] << 8) | row[i + 2];
      counts.set(colour, (counts.get(colour) || 0) + 1);
      sum += light(row[i], row[i + 1], row[i + 2]);
    }
    above = row;
  }
  const num = width * height;
  return {
    width,
    height,
    colours: counts.size,
    light: sum / num,
    mostCommon: Math.max(...counts.values()) / num,
  };
}

module.exports = {measure};
