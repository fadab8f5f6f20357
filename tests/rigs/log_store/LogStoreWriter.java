import io.delta.storage.LogStore;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.FileAlreadyExistsException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A driver of Delta without Spark: it commits to a table by a log store alone, as often as it is told.
 *
 * <p>One line of standard input is one order, one line of standard output its answer:
 *
 * <pre>
 *   set PROPERTY VALUE                 a property of Hadoop, until the next order says otherwise
 *   commit CLASS LOG_FOLDER NAME COUNT commit COUNT added files, NAME-0.parquet and so on
 * </pre>
 *
 * <p>It answers `done` and the files whose commits it believes in, then `failed` and the errors of the others.
 */
public final class LogStoreWriter {
  public static void main(String[] arguments) throws Exception {
    Configuration configuration = new Configuration();
    BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
    System.out.println("ready");
    for (String order = orders.readLine(); order != null; order = orders.readLine()) {
      String[] words = order.split(" ");
      if (words[0].equals("set")) {
        configuration.set(words[1], words[2]);
      } else {
        System.out.println(commit(configuration, words[1], words[2], words[3], Integer.parseInt(words[4])));
        FileSystem.closeAll();
      }
    }
  }

  private static String commit(Configuration configuration, String store, String log, String name, int count)
      throws Exception {
    LogStore logStore =
        (LogStore) Class.forName(store).getConstructor(Configuration.class).newInstance(configuration);
    List<String> believed = new ArrayList<>();
    List<String> failed = new ArrayList<>();
    long version = next(logStore, log, 0, configuration);
    for (int number = 0; number < count; number++) {
      String file = name + "-" + number + ".parquet";
      List<String> actions = List.of(
          "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"WRITE\"}}",
          "{\"add\":{\"path\":\"" + file
              + "\",\"partitionValues\":{},\"size\":1,\"modificationTime\":1,\"dataChange\":true}}");
      try {
        while (!added(logStore, path(log, version), actions, configuration)) {
          version = next(logStore, log, version, configuration);
        }
        believed.add(file);
      } catch (IOException error) {
        failed.add(file + ": " + error.toString().replace('\n', ' '));
      }
      version = next(logStore, log, version, configuration);
    }
    return "done " + String.join(",", believed) + " failed " + String.join(";", failed);
  }

  private static boolean added(LogStore store, Path path, List<String> actions, Configuration configuration)
      throws IOException {
    try {
      store.write(path, actions.iterator(), false, configuration);
      return true;
    } catch (FileAlreadyExistsException taken) {
      return false;
    }
  }

  /** The version after the last one of the log, as a driver finds it. */
  private static long next(LogStore store, String log, long from, Configuration configuration) throws IOException {
    long next = from;
    Iterator<FileStatus> files = store.listFrom(path(log, from), configuration);
    while (files.hasNext()) {
      String file = files.next().getPath().getName();
      if (file.endsWith(".json")) {
        next = Long.parseLong(file.substring(0, 20)) + 1;
      }
    }
    return next;
  }

  private static Path path(String log, long version) {
    return new Path(log, String.format("%020d.json", version));
  }
}
