// Package config is the interceptor's configuration file: YAML, read strictly.
//
// A file has two kinds of keys. Options are the flags of the command, by name
// with _ for -; what they mean is theirs to tell. The others are the fields of
// [File], with name, meaning and allowed values in tags, from which the reader,
// the JSON schema and the reference in docs/configuration.md are made. Errors
// name file, line and key, and for an unknown key the nearest known one.
//
// The package knows no flags and opens nothing but the file.
package config
