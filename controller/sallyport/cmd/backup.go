package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/render"
)

// restoreChunk is the size of one message of a restore, the API's bound.
const restoreChunk = 256 << 10

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the store",
		Long: `Write a backup of the store to a file, whole or not at all, or to the standard output (-).

No traffic key is in it. Other secrets stay sealed: to restore, the key that the controller seals with
is needed too, which is in no backup.`,
		Example: `  sallyport backup fleet-$(date +%F).backup
  sallyport backup - | age -r RECIPIENT > fleet.backup.age`,
		Args: cobra.ExactArgs(1),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if args[0] != "-" {
			return a.backupFile(c.Context(), args[0])
		}
		if a.Terminal.Stdout {
			return exit.Errorf(exit.Usage, "a backup is not for the screen: name a file, or redirect the output")
		}
		_, err := a.backup(c.Context(), a.Stdout)
		return err
	}
	return c
}

// backupFile writes beside the file and renames at the end, so that a backup that broke off is none.
func (a *app) backupFile(ctx context.Context, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // mode 0600
	if err != nil {
		return err
	}
	n, err := a.backup(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	a.say("%s: %s", path, render.Bytes(n))
	return nil
}

func (a *app) backup(ctx context.Context, w io.Writer) (int64, error) {
	client, err := a.admin()
	if err != nil {
		return 0, err
	}
	ctx, cancel := a.within(ctx, 0)
	defer cancel()
	stream, err := client.Backup(ctx, &operatorv1.BackupRequest{})
	if err != nil {
		return 0, err
	}
	p := a.progress()
	defer p.done()
	var n int64
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return 0, exit.Errorf(exit.Failure, "the controller sent an empty backup")
			}
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if _, err := w.Write(part.GetChunk()); err != nil {
			return n, err
		}
		n += int64(len(part.GetChunk()))
		p.show("%s written", render.Bytes(n))
	}
}

func (a *app) restoreCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the store by a backup",
		Long: `Replace the store by a backup, and begin a new incarnation of the fleet: every security association is
made anew, every join token is void, and what was revoked since the backup stays revoked.

All changes since the backup are lost. It asks first; without a terminal --yes is needed.`,
		Example: `  sallyport restore fleet-2026-01-31.backup
  sallyport restore - --yes < fleet.backup`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !yes {
			if args[0] == "-" || !a.interactive() {
				return exit.Errorf(exit.Usage, "a restore replaces the whole store: say --yes to do it without being asked")
			}
			if err := a.confirm(c.Context(), "Replace the whole store by "+args[0]+"? All changes since that backup are lost."); err != nil {
				return err
			}
		}
		return a.restore(c.Context(), args[0])
	}
	return c
}

func (a *app) restore(ctx context.Context, path string) error {
	in, size := a.Stdin, int64(0)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return &exit.Error{Status: exit.Invalid, Err: err}
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in = f
	}
	in = bufio.NewReaderSize(in, restoreChunk)
	client, err := a.admin()
	if err != nil {
		return err
	}
	ctx, cancel := a.within(ctx, 0)
	defer cancel()
	stream, err := client.Restore(ctx)
	if err != nil {
		return err
	}
	if err := a.send(stream, in, size); err != nil {
		return err
	}
	response, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	a.say("the controller starts over now: sallyport status --wait says when all is up again")
	return a.print(fmt.Appendf(nil, "restored %d keys, %d revocations hold again, incarnation %d\n",
		response.GetKeys(), response.GetRevocations(), response.GetIncarnation()))
}

// restoring is the sending half of a Restore.
type restoring interface {
	Send(*operatorv1.RestoreRequest) error
	CloseAndRecv() (*operatorv1.RestoreResponse, error)
}

func (a *app) send(stream restoring, in io.Reader, size int64) error {
	p := a.progress()
	defer p.done()
	sent := int64(0)
	for {
		chunk := make([]byte, restoreChunk) // the stream may keep it
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if err := stream.Send(&operatorv1.RestoreRequest{Chunk: chunk[:n]}); errors.Is(err, io.EOF) {
				return nil // the controller has ended the call: CloseAndRecv says why
			} else if err != nil {
				return err
			}
			sent += int64(n)
			p.show("%s of %s sent", render.Bytes(sent), render.Bytes(max(size, sent)))
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if sent == 0 {
				return exit.Errorf(exit.Invalid, "the backup is empty")
			}
			return nil
		case err != nil:
			return err
		}
	}
}
