// Command etcd is the etcd server at the version that go.mod pins, so that tests against an external
// cluster need no package that would start a server of its own.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
