// Prints the messages of the .mcap file in the first argument as JSON, read by the packages that Foxglove reads with:
// topic -> [nanoseconds, SHA-256 of data, k], in the order of the file's index. Needs, from npm, @mcap/core,
// @mcap/nodejs, @foxglove/rosmsg and @foxglove/rosmsg2-serialization (NODE_PATH says where).
const { McapIndexedReader } = require("@mcap/core");
const { FileHandleReadable } = require("@mcap/nodejs");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");
const { createHash } = require("node:crypto");
const { open } = require("node:fs/promises");

async function main(path) {
  const reader = await McapIndexedReader.Initialize({ readable: new FileHandleReadable(await open(path)) });
  const decoders = new Map();
  const found = {};
  for await (const message of reader.readMessages()) {
    const channel = reader.channelsById.get(message.channelId);
    if (!decoders.has(channel.id)) {
      const definition = new TextDecoder().decode(reader.schemasById.get(channel.schemaId).data);
      decoders.set(channel.id, new MessageReader(parse(definition, { ros2: true })));
    }
    const { data, k } = decoders.get(channel.id).readMessage(message.data);
    const digest = data === undefined ? null : createHash("sha256").update(data).digest("hex");
    const one = [message.logTime.toString(), digest, k === undefined ? null : Array.from(k)];
    (found[channel.topic] ??= []).push(one);
  }
  console.log(JSON.stringify(found));
}

main(process.argv[2]);
