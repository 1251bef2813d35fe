// Package delivery carries finished records from the engines to the sinks.
//
//	engines ─▶ Fanout.Emit ─┬▶ Queue ─▶ worker ─▶ Sink        (memory)
//	                        └▶ Queue ─▶ spooler ─▶ disk ─▶ worker ─▶ Sink
//
// A record is encoded once, as capstan.v1.Exchange and in each [Form] that sinks
// write, and all queues share the bytes; where they need nothing but forms, in these
// alone. An engine of several shards encodes it before its turn has come, with
// [Fanout.Append], and hands it on with [Fanout.Push]. Each queue is bounded and has its own policy for when its sink is slower
// than the records come: [Block] slows the engine, and with it the source, whose
// server counts what it loses; [DropOldest] keeps the newest records; [Spool]
// writes to disk first, so that records outlive an outage of the sink and the end
// of the process.
//
// When the process runs short of memory, [Fanout.Shed] takes it from those queues
// whose policy is to drop.
//
// A sink gets batches, again and again until it takes them: delivery is at least
// once, and the ids of records tell repeats. Every record that a queue accepted
// is in exactly one counter of [Stats].
package delivery
