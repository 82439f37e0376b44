import java.net.URI;

/** Prints what a URL says; its proxy is what the properties of the system say. */
public class Visit {
    public static void main(String[] arguments) throws Exception {
        try (var answer = URI.create(arguments[0]).toURL().openStream()) {
            System.out.write(answer.readAllBytes());
            System.out.flush();
        }
    }
}
