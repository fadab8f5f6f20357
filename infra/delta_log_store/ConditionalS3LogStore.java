/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except in compliance with
 * the License. You may obtain a copy of the License at
 *
 *     http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software distributed under the License is distributed on
 * an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the
 * specific language governing permissions and limitations under the License.
 */

package pdp.delta;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Commits to a Delta log on S3 that are safe with any number of writers: a version belongs to whom the store gives it.
 *
 * <p>The stock store of S3 looks whether a version exists, and then writes it. Two drivers that look at the same moment
 * both write, and the later one wipes out the commit of the earlier, which believes that it has won. This one asks the
 * store itself to decide: the PUT carries {@code If-None-Match: *}, as the commits of delta-rs do, so Spark and
 * delta-rs may write to the same table.
 *
 * <p>What the client hears of a PUT is not what became of it. The reply may be lost after the store has carried the
 * request out, and the SDK repeats a PUT without a reply by itself and is then refused by its own commit (412). A
 * version that two writers ask for at once may also be refused to both for the moment (409). So the object says whose
 * it is: its metadata has an id that this write alone knows. After any failure the object is asked.
 *
 * <ul>
 *   <li>It has our id: the commit succeeded.
 *   <li>It has another id or none (delta-rs writes none): the version is somebody else's for good, because no object
 *       of a log is ever replaced. Delta's contract asks for {@link FileAlreadyExistsException}.
 *   <li>It does not exist: the same PUT is sent again with the same id, which cannot commit twice, a few times.
 *   <li>It cannot be asked: the outcome is unknown, and the error says so.
 * </ul>
 *
 * <p>Listing, reading and {@code _last_checkpoint}, which is overwritten, are those of the stock store. The file system
 * must be S3A of Hadoop 3.4.2 or later; an older one refuses the option that this class asks for.
 *
 * <p>Configure it as {@code spark.delta.logStore.s3a.impl}.
 */
public final class ConditionalS3LogStore extends S3SingleDriverLogStore {
  private static final String WRITE_ID = "pdp-delta-write-id";
  private static final int ATTEMPTS = 4;
  private static final long PAUSE_MILLIS = 100;

  /** Whose a version is. */
  private enum Owner { US, ANOTHER, NOBODY }

  /** What Delta calls with the configuration of the session. */
  public ConditionalS3LogStore(Configuration hadoopConfiguration) {
    super(hadoopConfiguration);
  }

  /**
   * Writes one file of the log.
   *
   * @throws FileAlreadyExistsException another writer has the version, whose commit is untouched
   * @throws IOException the file was not written, or the store does not say whether it was
   */
  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
      throws IOException {
    if (overwrite) {
      super.write(path, actions, true, configuration);
      return;
    }
    // Whole in memory first: an iterator that fails must not leave half a commit, and a PUT may be sent again.
    byte[] content = encode(actions);
    String id = UUID.randomUUID().toString();
    FileSystem store = path.getFileSystem(configuration);
    for (int attempt = 1; ; attempt++) {
      try {
        put(store, path, content, id);
        return;
      } catch (IOException failure) {
        if (cancelled(failure)) {
          throw failure;
        }
        Owner owner = owner(store, path, id, failure);
        if (owner == Owner.US) {
          return;
        }
        if (owner == Owner.ANOTHER) {
          throw (IOException) new FileAlreadyExistsException(path.toString()).initCause(failure);
        }
        if (attempt == ATTEMPTS) {
          throw new IOException(
              "The commit " + path + " was not written in " + ATTEMPTS + " attempts, the last of them: " + failure,
              failure);
        }
      }
      pause(attempt * PAUSE_MILLIS);
    }
  }

  private static byte[] encode(Iterator<String> actions) throws IOException {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      content.write(actions.next().getBytes(StandardCharsets.UTF_8));
      content.write('\n');
    }
    return content.toByteArray();
  }

  private static void put(FileSystem store, Path path, byte[] content, String id) throws IOException {
    FSDataOutputStreamBuilder<?, ?> builder = store.createFile(path);
    builder.create().overwrite(false);
    builder.must("fs.option.create.conditional.overwrite", true);
    builder.must("fs.s3a.create.header." + WRITE_ID, id);
    FSDataOutputStream stream = builder.build();
    try {
      stream.write(content);
    } catch (IOException | RuntimeException failure) {
      // S3A publishes at `close`, also what was only half written.
      stream.abort();
      throw failure;
    }
    stream.close();
  }

  private static Owner owner(FileSystem store, Path path, String id, IOException failure) throws IOException {
    try {
      byte[] stored = store.getXAttr(path, "header." + WRITE_ID);
      return stored != null && id.equals(new String(stored, StandardCharsets.UTF_8)) ? Owner.US : Owner.ANOTHER;
    } catch (FileNotFoundException absent) {
      return Owner.NOBODY;
    } catch (IOException unanswered) {
      IOException unknown = new IOException(
          "Whether the commit " + path + " was written is unknown: the store did not answer (" + failure
              + "), nor did it say who has the version (" + unanswered + ")", failure);
      unknown.addSuppressed(unanswered);
      throw unknown;
    }
  }

  private static boolean cancelled(IOException failure) {
    // A time-out of a socket is of the same class, and is no wish to end.
    return failure instanceof InterruptedIOException && !(failure instanceof SocketTimeoutException);
  }

  private static void pause(long millis) throws IOException {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException interruption) {
      Thread.currentThread().interrupt();
      throw (IOException) new InterruptedIOException("interrupted between two attempts").initCause(interruption);
    }
  }
}
