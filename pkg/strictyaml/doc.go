// Package strictyaml reads configuration files in YAML so that what is written is
// what holds: each key may stand once and has to be known, nothing may refer to
// something else in the file, there is one document, and its length is bounded.
//
// All that is wrong is told, not just the first, each with file, line and key, and
// for an unknown key with the nearest known one, as in
//
//	c.yaml:3: sinks[0].file.pth: no such key; did you mean path?
//
// [Reader.Decode] fills Go values by their tags. Who needs more than that walks the nodes:
// [Reader.Mapping], [Reader.List] and [Reader.Scalar] check what Decode does.
package strictyaml
