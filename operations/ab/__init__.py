"""`lockstep ab`: two strategies side by side, judged by their paired sessions."""
