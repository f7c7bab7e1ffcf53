"""What the user asked (`Recipe`), how it is read (`load`), and what luthier decides before it starts (`plan`)."""
