// Helm, as a library with its program within: `java -cp 'JARS/*' Chart.java lint|template CHART`.
// For machines that have Java and no helm; deploy/check.py runs it.

import com.marcnuri.helm.Helm;
import java.nio.file.Path;

public class Chart {
    public static void main(String[] words) {
        var chart = new Helm(Path.of(words[1]));
        try {
            if (words[0].equals("lint")) {
                var result = chart.lint().strict().call();
                result.getMessages().forEach(System.out::println);
                System.exit(result.isFailed() ? 1 : 0);
            }
            System.out.print(chart.template()
                .withName("tintype").withNamespace("tintype").withKubeVersion("1.33.0").call());
        } catch (RuntimeException refused) {
            System.err.println(refused.getMessage());
            System.exit(1);
        }
    }
}
