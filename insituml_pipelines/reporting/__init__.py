"""What `insituml report` is made of: results read from folders, and one page that shows them."""
