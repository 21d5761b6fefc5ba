"""What there is to show: pictures, curves, facts, and the pages and plots made of them."""
