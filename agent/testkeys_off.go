//go:build !sallyport_testkeys

package main

import "sallyport.dev/sallyport/agent/uplink"

// exportKeys does nothing: a production binary has no code that could show a key.
func exportKeys(in uplink.Installer) (uplink.Installer, error) { return in, nil }
